//! Envoy's messages to the runtime types of [`crate::config`].
//!
//! A resource is converted as a whole and all that is wrong with it is reported at once. Each
//! message is taken apart by `take!` in the file of its topic, which lists what is supported, what
//! is ignored and why, and what is refused. The verdict is Envoy's: what Envoy refuses is refused,
//! and what Envoy takes is taken or refused as "not supported".

mod access_log;
mod aggregate;
mod at;
mod bootstrap;
mod circuit_breakers;
mod cluster;
mod common_lb;
mod dns;
mod dns_cache;
mod dns_resolver;
mod endpoint;
mod filter_chain;
mod hash;
mod header;
mod health_check;
mod http_connection_manager;
mod http_filter;
mod http_options;
mod listener;
mod listener_filter;
mod load_balancing;
mod local_rate_limit;
mod matcher;
mod metadata;
mod mirror;
mod network_filter;
mod original_dst;
mod outlier_detection;
mod overload;
mod percent;
mod proxy_protocol;
mod rbac;
mod redirect;
mod retry;
mod retry_host;
mod route;
mod route_action;
mod route_match;
mod runtime;
mod service;
mod subset;
mod tcp_proxy;
mod tls;
mod tls_parameters;
mod tls_secret;
mod upstream_http;
mod upstream_proxy_protocol;
mod value;

use std::fmt;

use weir_api::xds::envoy::{
    config::{
        bootstrap::v3 as bootstrap_v3, cluster::v3 as cluster_v3, endpoint::v3 as endpoint_v3,
        listener::v3 as listener_v3, route::v3 as route_v3,
    },
    extensions::transport_sockets::tls::v3 as tls_v3,
};

use self::at::Report;
use crate::config::{
    Bootstrap, Cluster, Listener, LoadAssignment, RouteConfiguration, tls::LoadedSecret,
};

/// Why a resource, or a bootstrap, cannot be used: every problem it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// In the order of the message. Never empty.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {}{reason}", path_prefix(path))]
pub struct Problem {
    /// Kind and name, such as `Listener "web"`.
    pub resource: String,
    /// The field, such as `filter_chains[0].filters[0].name`; empty for the resource itself.
    pub path: String,
    /// What is wrong, with the value.
    pub reason: String,
}

/// Converts a bootstrap with its static resources.
///
/// # Errors
/// Everything that is wrong or not supported in it.
pub fn bootstrap(message: bootstrap_v3::Bootstrap) -> Result<Bootstrap, ConfigError> {
    let report = Report::default();
    let converted = bootstrap::bootstrap(&report, message);
    report.finish(converted)
}

/// Converts a Listener.
///
/// # Errors
/// Everything that is wrong or not supported in it.
pub fn listener(message: listener_v3::Listener) -> Result<Listener, ConfigError> {
    let report = Report::default();
    let resource = format!("Listener {:?}", message.name);
    let converted = listener::listener(&report.resource(&resource), message);
    report.finish(converted)
}

/// Converts a Cluster.
///
/// # Errors
/// Everything that is wrong or not supported in it.
pub fn cluster(message: cluster_v3::Cluster) -> Result<Cluster, ConfigError> {
    let report = Report::default();
    let resource = format!("Cluster {:?}", message.name);
    let converted = cluster::cluster(&report.resource(&resource), message);
    report.finish(converted)
}

/// Converts a ClusterLoadAssignment.
///
/// # Errors
/// Everything that is wrong or not supported in it.
pub fn load_assignment(
    message: endpoint_v3::ClusterLoadAssignment,
) -> Result<LoadAssignment, ConfigError> {
    let report = Report::default();
    let resource = format!("ClusterLoadAssignment {:?}", message.cluster_name);
    let converted = endpoint::load_assignment(&report.resource(&resource), message);
    report.finish(Some(endpoint::without_duplicates(converted)))
}

/// Converts a RouteConfiguration that came by itself, over RDS.
///
/// # Errors
/// Everything that is wrong or not supported in it.
pub fn route_configuration(
    message: route_v3::RouteConfiguration,
) -> Result<RouteConfiguration, ConfigError> {
    let report = Report::default();
    let resource = format!("RouteConfiguration {:?}", message.name);
    let converted = route::route_configuration(&report.resource(&resource), message);
    report.finish(Some(converted))
}

/// Converts a Secret. Files that it names are read.
///
/// # Errors
/// Everything that is wrong or not supported in it, without what is secret.
pub fn secret(message: tls_v3::Secret) -> Result<LoadedSecret, ConfigError> {
    let report = Report::default();
    let resource = format!("Secret {:?}", message.name);
    let converted = tls_secret::secret(&report.resource(&resource), message);
    report.finish(converted)
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

fn path_prefix(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    }
}

#[cfg(test)]
mod tests;
