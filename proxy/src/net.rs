//! Connections as bytes: what they are made of, and how they are moved.

pub(crate) mod relay;
pub(crate) mod transport_socket;
