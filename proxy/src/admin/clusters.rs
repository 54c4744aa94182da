//! `/clusters`

use std::{fmt::Write as _, sync::Arc};

use http::StatusCode;
use regex::Regex;
use serde_json::{Value as Json, json};

use super::{Admin, listeners::socket_address, query::Query, reply::Reply};
use crate::{
    cluster::{ClusterHealth, HealthFlags, Rates, endpoints_of},
    config::{
        Cluster, LoadAssignment,
        circuit_breakers::Thresholds,
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
                status(&Shown::new(admin, &snapshot, cluster), is_dynamic(cluster))
            };
            let statuses: Vec<Json> = clusters.iter().map(status).collect();
            Reply::json(&json!({ "cluster_statuses": statuses }))
        }
        "text" | "" => {
            let mut text = String::new();
            for cluster in clusters {
                let shown = Shown::new(admin, &snapshot, cluster);
                write_text(&mut text, &shown, is_dynamic(cluster));
            }
            Reply::text(text)
        }
        other => Reply::error(
            StatusCode::BAD_REQUEST,
            format!("format {other:?} is not text or json\n"),
        ),
    }
}

/// Fields of `envoy.admin.v3.HostHealthStatus`.
const FLAGS: &[(HealthFlags, &str)] = &[
    (HealthFlags::FAILED_ACTIVE_HC, "failed_active_health_check"),
    (HealthFlags::FAILED_OUTLIER_CHECK, "failed_outlier_check"),
    (
        HealthFlags::DEGRADED_ACTIVE_HC,
        "failed_active_degraded_check",
    ),
    (
        HealthFlags::PENDING_DYNAMIC_REMOVAL,
        "pending_dynamic_removal",
    ),
    (HealthFlags::PENDING_ACTIVE_HC, "pending_active_hc"),
    (
        HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
        "excluded_via_immediate_hc_fail",
    ),
    (HealthFlags::ACTIVE_HC_TIMEOUT, "active_hc_timeout"),
];

/// A cluster, and what is known of its hosts.
struct Shown<'s> {
    cluster: &'s Cluster,
    endpoints: Option<Arc<LoadAssignment>>,
    health: Option<Arc<ClusterHealth>>,
}

impl<'s> Shown<'s> {
    fn new(admin: &Admin, snapshot: &'s Snapshot, cluster: &'s Arc<Cluster>) -> Self {
        let health = admin.handle.health().known(cluster);
        let checked = health.as_ref().and_then(|health| health.shown_endpoints());
        Self {
            cluster,
            endpoints: checked.or_else(|| endpoints_of(cluster, snapshot).cloned()),
            health,
        }
    }

    /// All that keeps traffic from an endpoint.
    fn flags(&self, endpoint: &Endpoint) -> HealthFlags {
        let learnt = self.health.as_ref();
        let learnt = learnt.and_then(|health| health.host(endpoint.address));
        HealthFlags::of(endpoint.health).and(learnt.map(|learnt| learnt.flags()))
    }

    /// Its success rates in the last interval, of its own errors and of failures to reach it.
    fn success_rates(&self, endpoint: &Endpoint) -> [Option<f64>; 2] {
        let health = self.health.as_ref();
        health.map_or([None; 2], |health| health.success_rates(endpoint.address))
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
            .map(move |endpoint| (locality, &**endpoint))
    })
}

fn write_text(text: &mut String, shown: &Shown<'_>, is_dynamic: bool) {
    let cluster = shown.cluster;
    let name = &cluster.name;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name}::observability_name::{}", cluster.stat_name);
    write_rates(text, shown);
    let breakers = cluster.circuit_breakers;
    for (priority, thresholds) in [("default", breakers.default), ("high", breakers.high)] {
        for (limit, value) in limits(&thresholds) {
            let _ = writeln!(text, "{name}::{priority}_priority::{limit}::{value}");
        }
    }
    let _ = writeln!(text, "{name}::added_via_api::{is_dynamic}");
    for (locality, endpoint) in each(shown.endpoints.as_ref()) {
        let address = endpoint.address;
        let _ = writeln!(text, "{name}::{address}::hostname::{}", endpoint.hostname);
        let flags = shown.flags(endpoint);
        let _ = writeln!(text, "{name}::{address}::health_flags::{flags}");
        let _ = writeln!(text, "{name}::{address}::weight::{}", endpoint.weight);
        let _ = writeln!(text, "{name}::{address}::region::{}", locality.region);
        let _ = writeln!(text, "{name}::{address}::zone::{}", locality.zone);
        let _ = writeln!(text, "{name}::{address}::sub_zone::{}", locality.sub_zone);
        let _ = writeln!(text, "{name}::{address}::canary::{}", endpoint.is_canary());
        let _ = writeln!(text, "{name}::{address}::priority::{}", locality.priority);
        let [external, local] = shown.success_rates(endpoint).map(or_none);
        let _ = writeln!(text, "{name}::{address}::success_rate::{external}");
        let _ = writeln!(
            text,
            "{name}::{address}::local_origin_success_rate::{local}"
        );
    }
}

/// Thresholds of circuit breakers by their names.
fn limits(thresholds: &Thresholds) -> [(&'static str, u32); 4] {
    [
        ("max_connections", thresholds.max_connections),
        ("max_pending_requests", thresholds.max_pending_requests),
        ("max_requests", thresholds.max_requests),
        ("max_retries", thresholds.max_retries),
    ]
}

/// What outlier detection found in the last interval.
fn write_rates(text: &mut String, shown: &Shown<'_>) {
    let name = &shown.cluster.name;
    let rates = shown.health.as_ref().and_then(|health| health.rates());
    let Some(Rates(rates)) = rates else {
        return;
    };
    for (origin, rate) in ["", "local_origin_"].into_iter().zip(rates) {
        let average = or_none(rate.map(|rate| rate.average));
        let threshold = or_none(rate.map(|rate| rate.ejection_threshold));
        let prefix = format!("{name}::outlier::{origin}success_rate");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{prefix}_average::{average}");
        let _ = writeln!(text, "{prefix}_ejection_threshold::{threshold}");
    }
}

/// As Envoy shows a rate that there is none of.
fn or_none(rate: Option<f64>) -> f64 {
    rate.unwrap_or(-1.0)
}

/// `envoy.admin.v3.ClusterStatus`
fn status(shown: &Shown<'_>, is_dynamic: bool) -> Json {
    let cluster = shown.cluster;
    let host = |(locality, endpoint): (&LocalityEndpoints, &Endpoint)| {
        let health = match endpoint.health {
            HealthStatus::Healthy => "HEALTHY",
            HealthStatus::Degraded => "DEGRADED",
            HealthStatus::Unhealthy => "UNHEALTHY",
            HealthStatus::Draining => "DRAINING",
        };
        let mut health = json!({ "eds_health_status": health });
        let flags = shown.flags(endpoint);
        for (flag, name) in FLAGS {
            if flags.has(*flag) {
                health[*name] = true.into();
            }
        }
        let mut host = json!({
            "address": socket_address(endpoint.address),
            "hostname": endpoint.hostname,
            "health_status": health,
            "weight": endpoint.weight,
            "priority": locality.priority,
            "locality": {
                "region": locality.region,
                "zone": locality.zone,
                "sub_zone": locality.sub_zone,
            },
        });
        let names = ["success_rate", "local_origin_success_rate"];
        for (name, rate) in names.into_iter().zip(shown.success_rates(endpoint)) {
            if let Some(rate) = rate {
                host[name] = json!({ "value": rate });
            }
        }
        host
    };
    let breakers = cluster.circuit_breakers;
    let [default, mut high] = [breakers.default, breakers.high].map(|thresholds| {
        let limits = limits(&thresholds);
        Json::from_iter(limits.map(|(limit, value)| (limit.to_owned(), Json::from(value))))
    });
    high["priority"] = "HIGH".into();
    let mut status = json!({
        "name": cluster.name,
        "observability_name": cluster.stat_name,
        "added_via_api": is_dynamic,
        "circuit_breakers": { "thresholds": [default, high] },
        "host_statuses": each(shown.endpoints.as_ref()).map(host).collect::<Vec<_>>(),
    });
    let rates = shown.health.as_ref().and_then(|health| health.rates());
    let names = [
        "success_rate_ejection_threshold",
        "local_origin_success_rate_ejection_threshold",
    ];
    for (name, rate) in names
        .into_iter()
        .zip(rates.into_iter().flat_map(|rates| rates.0))
    {
        if let Some(rate) = rate {
            status[name] = json!({ "value": rate.ejection_threshold });
        }
    }
    status
}
