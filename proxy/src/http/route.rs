//! Which virtual host and which route serve a request.

mod matched;
mod matching;
mod rewrite;

pub use matched::{CachedRoute, Matched};
pub(crate) use matching::is_grpc;
pub use matching::{cluster, find, resolve};
pub use rewrite::{redirect_location, rewrite_path};
