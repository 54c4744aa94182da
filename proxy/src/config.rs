//! Runtime configuration: what Envoy's v3 messages become, once, at the boundary.
//!
//! Everything here is immutable and shared by `Arc` between the workers; nothing on the data path
//! sees protobuf. [`convert`] makes these types from messages and refuses, by name, every field
//! that is set and not supported.

pub mod access_log;
pub mod bootstrap;
pub mod circuit_breakers;
pub mod cluster;
pub mod dns;
pub mod dns_cache;
pub mod domains;
pub mod endpoint;
pub mod feature_flag;
pub mod format;
pub mod hash;
pub mod header;
pub mod health_check;
pub mod http;
pub mod http_filter;
pub mod listener;
pub mod listener_filter;
pub mod load_balancing;
pub mod matcher;
pub mod metadata;
pub mod network_filter;
pub mod original_dst;
pub mod outlier_detection;
pub mod overload;
pub mod proxy_protocol;
pub mod rbac;
pub mod request_buffer;
pub mod retry_host;
pub mod route;
pub mod service;
pub mod subset;
pub mod tls;
pub mod token_bucket;

pub use access_log::AccessLog;
pub use bootstrap::Bootstrap;
pub use cluster::Cluster;
pub use endpoint::LoadAssignment;
pub use http::HttpConnectionManager;
pub use listener::Listener;
pub use route::RouteConfiguration;
