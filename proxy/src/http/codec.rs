//! Codecs: they turn bytes into messages and messages into bytes, and hold no policy.

pub mod h1;
pub mod h2;
pub(crate) mod hpack;
