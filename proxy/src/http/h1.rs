//! HTTP/1.0 and HTTP/1.1: parsed in place, forwarded with as few changes as the configuration
//! asks for. Bodies are moved as they come, chunked ones with their framing.

pub mod body;
pub(crate) mod decode;
pub mod head;
pub mod request;
pub(crate) mod response;
