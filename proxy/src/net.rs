//! Connections as bytes: sockets and their addresses, and how bytes are moved between them.

pub mod address;
pub(crate) mod listen;
pub(crate) mod original_dst;
pub(crate) mod proxy_header;
pub(crate) mod read_filter;
pub(crate) mod relay;
pub mod tls;
pub(crate) mod transport_socket;

pub use listen::{BindError, BoundListener};
