//! The data plane: listeners, filters, clusters, stats, admin interface and xDS client.
//!
//! It takes its configuration as Envoy v3 resources, from a bootstrap file and from ADS, and
//! forwards TCP and HTTP as Envoy would. It knows nothing of Kubernetes, injection or iptables.

mod access_log;
pub mod admin;
mod boundary;
mod buffer;
mod call;
pub mod cluster;
pub mod config;
pub mod connection_log;
pub mod convert;
pub mod demand;
mod dns;
mod dns_cache;
mod exchange;
mod factory_context;
pub mod filter;
pub mod flows;
pub mod format;
pub mod handle;
pub mod http;
pub mod info;
pub mod listener;
pub mod mesh_metrics;
pub mod metadata;
pub mod net;
pub mod options;
mod overload;
mod random;
pub mod rbac;
pub mod reason;
pub mod runtime;
pub mod secrets;
pub mod server;
mod server_stats;
pub mod singletons;
pub mod snapshot;
pub mod stats;
pub mod worker;
pub mod xds;
