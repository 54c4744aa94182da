//! HTTP: codecs, routes and the connection manager.

pub mod h1;
pub mod head;
pub mod route;
