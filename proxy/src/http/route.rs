//! Which virtual host and which route serve a request.

mod matching;
mod rewrite;

pub(crate) use matching::is_grpc;
pub use matching::{cluster, find};
pub use rewrite::{redirect_location, rewrite_path};
