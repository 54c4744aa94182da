//! HTTP/1.0 and HTTP/1.1: parsed in place, forwarded with as few changes as the configuration
//! asks for. What frames a message is written as it was understood; names, values and data stay
//! the bytes they were.

pub mod body;
mod chunked;
pub(crate) mod decode;
pub mod head;
pub(crate) mod partial;
pub mod request;
pub(crate) mod response;
