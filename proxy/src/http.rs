//! HTTP: codecs, routes and the connection manager.

pub mod route;
