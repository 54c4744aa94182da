//! The data plane: listeners, filters, clusters, stats, admin interface and xDS client.
//!
//! It takes its configuration as Envoy v3 resources, from a bootstrap file and from ADS, and
//! forwards TCP and HTTP as Envoy would. It knows nothing of Kubernetes, injection or iptables.

pub mod config;
pub mod format;
pub mod http;
