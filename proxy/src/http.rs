//! HTTP: codecs, routes and the connection manager.

pub mod authority;
pub mod changes;
pub mod codec;
pub(crate) mod cookie;
pub mod edits;
pub(crate) mod grpc;
pub(crate) mod h2;
pub mod local_reply;
pub(crate) mod message;
pub mod path;
pub mod route;
pub(crate) mod timer;
pub mod write;

pub use crate::info::head;
