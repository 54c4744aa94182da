//! What the first bytes of a connection say about its protocol. Plain functions over a prefix of
//! the byte stream: the answer never depends on how the stream was cut into reads.

pub mod http;

/// `envoy.filters.listener.tls_inspector`
pub use crate::net::tls::client_hello as tls;
pub use crate::net::tls::client_hello::Inspection;
