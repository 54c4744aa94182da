//! Changes of health, written down as Envoy does: a line of JSON each, an
//! `envoy.data.core.v3.HealthCheckEvent`.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde_json::{Value, json};

use super::session::{Event, FailureKind};
use crate::{
    access_log::AccessLogFiles,
    cluster::health::CheckTarget,
    config::{Cluster, health_check::Checker},
};

/// Where changes of health are written to.
#[derive(Default)]
pub(crate) struct EventLog(Mutex<AccessLogFiles>);

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventLog")
    }
}

impl EventLog {
    pub(super) fn write(&self, cluster: &Cluster, target: &CheckTarget, event: Event) {
        let Some(check) = cluster.health_check.as_ref() else {
            return;
        };
        if check.event_logs.is_empty() {
            return;
        }
        let line = line(cluster, &check.checker, target, event, SystemTime::now());
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sink in &check.event_logs {
            files.write(sink, line.clone());
        }
    }
}

fn line(
    cluster: &Cluster,
    checker: &Checker,
    target: &CheckTarget,
    event: Event,
    now: SystemTime,
) -> String {
    let (name, value) = event.json();
    let [region, zone, sub_zone] = &target.locality;
    let mut json = json!({
        "health_checker_type": match checker {
            Checker::Http(_) => "HTTP",
            Checker::Tcp(_) => "TCP",
            Checker::Grpc(_) => "GRPC",
        },
        "host": { "socket_address": {
            "protocol": "TCP",
            "address": target.host.ip().to_string(),
            "port_value": target.host.port(),
            "resolver_name": "",
            "ipv4_compat": false,
            "network_namespace_filepath": "",
        } },
        "cluster_name": cluster.name,
        "timestamp": humantime::format_rfc3339_millis(now).to_string(),
        "locality": { "region": region, "zone": zone, "sub_zone": sub_zone },
    });
    json[name] = value;
    format!("{json}\n")
}

// === impl Event ===

impl Event {
    /// The field of the message, and its value.
    fn json(self) -> (&'static str, Value) {
        match self {
            Self::EjectUnhealthy { kind, status } => (
                "eject_unhealthy_event",
                json!({ "failure_type": kind.name(), "http_status_code": status }),
            ),
            Self::AddHealthy { is_first } => {
                ("add_healthy_event", json!({ "first_check": is_first }))
            }
            Self::Success => ("successful_health_check_event", json!({})),
            Self::Failure {
                kind,
                is_first,
                status,
            } => (
                "health_check_failure_event",
                json!({
                    "failure_type": kind.name(),
                    "first_check": is_first,
                    "http_status_code": status,
                }),
            ),
            Self::Degraded => ("degraded_healthy_host", json!({})),
            Self::NoLongerDegraded => ("no_longer_degraded_host", json!({})),
        }
    }
}

impl FailureKind {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Network => "NETWORK",
            Self::NetworkTimeout => "NETWORK_TIMEOUT",
        }
    }
}
