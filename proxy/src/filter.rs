//! Network filters: what serves a connection once its filter chain is chosen. HTTP filters: what
//! sees each request before the router.

pub mod http;
pub mod network;
