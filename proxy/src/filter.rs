//! Filters: what looks at a connection before its filter chain is chosen, what serves it then, and
//! what sees each of its requests before the router.

pub mod http;
pub mod listener;
mod local_rate_limit;
pub mod network;
mod rbac_stats;
mod token_bucket;
