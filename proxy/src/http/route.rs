//! Which virtual host and which route serve a request.

mod matched;
mod matching;
mod rewrite;

pub use matched::{CachedRoute, Matched};
pub use matching::{cluster, find, resolve};
pub(crate) use matching::{is_grpc, matches, query_parameter};
pub use rewrite::{redirect_location, rewrite_path};
