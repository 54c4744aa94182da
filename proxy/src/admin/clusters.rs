//! `/clusters`

use std::{fmt::Write as _, sync::Arc};

use http::StatusCode;
use regex::Regex;
use serde_json::{Value as Json, json};

use super::{Admin, listeners::socket_address, query::Query, reply::Reply};
use crate::{
    config::{
        Cluster, LoadAssignment,
        cluster::{CircuitBreakers, ClusterDiscovery},
        endpoint::{Endpoint, HealthStatus, LocalityEndpoints},
    },
    snapshot::Snapshot,
};

pub(super) const PARAMETERS: &[(&str, &str)] = &[
    (
        "filter",
        "regular expression that names of clusters must contain",
    ),
    ("format", "text or json"),
];

/// `/clusters`
pub(super) fn print(admin: &Admin, query: &Query) -> Reply {
    let filter = match Regex::new(query.get("filter").unwrap_or_default()) {
        Ok(filter) => filter,
        Err(error) => return Reply::error(StatusCode::BAD_REQUEST, format!("filter: {error}\n")),
    };
    let snapshot = admin.handle.snapshot();
    let mut clusters: Vec<_> = snapshot.clusters.values().collect();
    clusters.retain(|cluster| filter.is_match(&cluster.name));
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    let is_dynamic = |cluster: &Cluster| !admin.static_clusters.contains(&cluster.name);
    match query.get("format").unwrap_or("text") {
        "json" => {
            let status = |cluster: &&Arc<Cluster>| {
                status(cluster, endpoints(&snapshot, cluster), is_dynamic(cluster))
            };
            let statuses: Vec<Json> = clusters.iter().map(status).collect();
            Reply::json(&json!({ "cluster_statuses": statuses }))
        }
        "text" | "" => {
            let mut text = String::new();
            for cluster in clusters {
                let assignment = endpoints(&snapshot, cluster);
                write_text(&mut text, cluster, assignment, is_dynamic(cluster));
            }
            Reply::text(text)
        }
        other => Reply::error(
            StatusCode::BAD_REQUEST,
            format!("format {other:?} is not text or json\n"),
        ),
    }
}

/// The endpoints the snapshot has for `cluster`.
pub(super) fn endpoints<'a>(
    snapshot: &'a Snapshot,
    cluster: &'a Cluster,
) -> Option<&'a Arc<LoadAssignment>> {
    match &cluster.discovery {
        ClusterDiscovery::Static(assignment) => Some(assignment),
        ClusterDiscovery::Eds(name) => snapshot.endpoints.get(name),
        ClusterDiscovery::OriginalDst => None,
    }
}

fn each(
    assignment: Option<&Arc<LoadAssignment>>,
) -> impl Iterator<Item = (&LocalityEndpoints, &Endpoint)> {
    let localities = assignment.into_iter().flat_map(|all| &all.localities);
    localities.flat_map(|locality| {
        locality
            .endpoints
            .iter()
            .map(move |endpoint| (locality, endpoint))
    })
}

fn write_text(
    text: &mut String,
    cluster: &Cluster,
    assignment: Option<&Arc<LoadAssignment>>,
    is_dynamic: bool,
) {
    let name = &cluster.name;
    let CircuitBreakers {
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
    } = cluster.circuit_breakers;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name}::observability_name::{}", cluster.stat_name);
    for (limit, value) in [
        ("max_connections", max_connections),
        ("max_pending_requests", max_pending_requests),
        ("max_requests", max_requests),
        ("max_retries", max_retries),
    ] {
        let _ = writeln!(text, "{name}::default_priority::{limit}::{value}");
    }
    let _ = writeln!(text, "{name}::added_via_api::{is_dynamic}");
    for (locality, endpoint) in each(assignment) {
        let address = endpoint.address;
        let _ = writeln!(text, "{name}::{address}::hostname::{}", endpoint.hostname);
        let health = match endpoint.health {
            HealthStatus::Healthy => "healthy",
            HealthStatus::Degraded => "/degraded_eds_health",
            HealthStatus::Unhealthy => "/failed_eds_health",
            HealthStatus::Draining => "/eds_status_draining",
        };
        let _ = writeln!(text, "{name}::{address}::health_flags::{health}");
        let _ = writeln!(text, "{name}::{address}::weight::{}", endpoint.weight);
        let _ = writeln!(text, "{name}::{address}::region::{}", locality.region);
        let _ = writeln!(text, "{name}::{address}::zone::{}", locality.zone);
        let _ = writeln!(text, "{name}::{address}::sub_zone::{}", locality.sub_zone);
        let _ = writeln!(text, "{name}::{address}::canary::false");
        let _ = writeln!(text, "{name}::{address}::priority::{}", locality.priority);
    }
}

/// `envoy.admin.v3.ClusterStatus`
fn status(cluster: &Cluster, assignment: Option<&Arc<LoadAssignment>>, is_dynamic: bool) -> Json {
    let host = |(locality, endpoint): (&LocalityEndpoints, &Endpoint)| {
        let health = match endpoint.health {
            HealthStatus::Healthy => "HEALTHY",
            HealthStatus::Degraded => "DEGRADED",
            HealthStatus::Unhealthy => "UNHEALTHY",
            HealthStatus::Draining => "DRAINING",
        };
        json!({
            "address": socket_address(endpoint.address),
            "hostname": endpoint.hostname,
            "health_status": { "eds_health_status": health },
            "weight": endpoint.weight,
            "priority": locality.priority,
            "locality": {
                "region": locality.region,
                "zone": locality.zone,
                "sub_zone": locality.sub_zone,
            },
        })
    };
    let limits = cluster.circuit_breakers;
    json!({
        "name": cluster.name,
        "observability_name": cluster.stat_name,
        "added_via_api": is_dynamic,
        "circuit_breakers": { "thresholds": [{
            "max_connections": limits.max_connections,
            "max_pending_requests": limits.max_pending_requests,
            "max_requests": limits.max_requests,
            "max_retries": limits.max_retries,
        }]},
        "host_statuses": each(assignment).map(host).collect::<Vec<_>>(),
    })
}
