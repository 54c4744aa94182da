//! What the first bytes of a connection say about its protocol. Plain functions over a prefix of
//! the byte stream: the answer never depends on how the stream was cut into reads.

pub mod http;
pub mod tls;

/// An inspector's answer about a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection<T> {
    /// More bytes could decide either way.
    NeedMore,
    /// It is not this protocol.
    No,
    /// It is.
    Yes(T),
}
