//! Active health checks.

mod checker;

use std::time::Duration;

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::{self as core, health_check as pb},
        extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink,
    },
    google::protobuf,
};

use super::{
    at::{At, take},
    value::{duration, json_object, non_empty, number, positive_duration, type_name, unpack},
};
use crate::config::{
    access_log::AccessLogSink,
    health_check::{HealthCheck, Intervals},
};

/// Envoy's default.
const NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);

/// The health check of a cluster. Envoy takes one at most.
pub(super) fn health_check(at: &At<'_>, messages: Vec<core::HealthCheck>) -> Option<HealthCheck> {
    let mut messages = messages.into_iter();
    let first = messages.next()?;
    if messages.next().is_some() {
        at.index(1)
            .unsupported("a second health check, which Envoy does not take either");
    }
    one(&at.index(0), first)
}

fn one(at: &At<'_>, message: core::HealthCheck) -> Option<HealthCheck> {
    take!(at, message => core::HealthCheck {
        supported: timeout, interval, initial_jitter, interval_jitter, interval_jitter_percent,
            unhealthy_threshold, healthy_threshold, reuse_connection, no_traffic_interval,
            no_traffic_healthy_interval, unhealthy_interval, unhealthy_edge_interval,
            healthy_edge_interval, event_log_path, event_logger, always_log_health_check_failures,
            always_log_health_check_success, tls_options, transport_socket_match_criteria,
            health_checker;
        refused: alt_port, event_service;
    });
    let required = |name: &'static str, value: Option<protobuf::Duration>| {
        let at = at.field(name);
        positive_duration(&at, at.required(value))
    };
    let optional = |name: &'static str, value: Option<protobuf::Duration>| {
        positive_duration(&at.field(name), value)
    };
    let any = |name: &'static str, value: Option<protobuf::Duration>| {
        duration(&at.field(name), value).unwrap_or_default()
    };
    let threshold = |name: &'static str, value: Option<protobuf::UInt32Value>| {
        let at = at.field(name);
        number(&at, at.required(value), 0..=u32::MAX)
    };
    let timeout = required("timeout", timeout);
    let interval = required("interval", interval);
    let no_traffic = optional("no_traffic_interval", no_traffic_interval);
    let no_traffic = no_traffic.unwrap_or(NO_TRAFFIC_INTERVAL);
    let unhealthy = optional("unhealthy_interval", unhealthy_interval);
    let unhealthy_edge = optional("unhealthy_edge_interval", unhealthy_edge_interval);
    let healthy_edge = optional("healthy_edge_interval", healthy_edge_interval);
    let no_traffic_healthy = optional("no_traffic_healthy_interval", no_traffic_healthy_interval);
    let (initial_jitter, jitter) = (
        any("initial_jitter", initial_jitter),
        any("interval_jitter", interval_jitter),
    );
    let unhealthy_threshold = threshold("unhealthy_threshold", unhealthy_threshold);
    let healthy_threshold = threshold("healthy_threshold", healthy_threshold);
    let event_logs = event_logs(at, &event_log_path, event_logger);
    let at_checker = at.field("health_checker");
    let checker = checker::checker(at, at_checker.required(health_checker)?);
    let interval = interval?;
    let unhealthy = unhealthy.unwrap_or(interval);
    Some(HealthCheck {
        timeout: timeout?,
        intervals: Intervals {
            interval,
            no_traffic,
            no_traffic_healthy: no_traffic_healthy.unwrap_or(no_traffic),
            unhealthy,
            unhealthy_edge: unhealthy_edge.unwrap_or(unhealthy),
            healthy_edge: healthy_edge.unwrap_or(interval),
            initial_jitter,
            jitter,
            jitter_percent: interval_jitter_percent,
        },
        unhealthy_threshold: unhealthy_threshold?,
        healthy_threshold: healthy_threshold?,
        reuse_connection: reuse_connection.is_none_or(|reuse| reuse.value),
        event_logs,
        always_log_failures: always_log_health_check_failures,
        always_log_success: always_log_health_check_success,
        alpn_protocols: tls_options
            .map(|options| alpn_protocols(&at.field("tls_options"), options)),
        transport_socket_match: transport_socket_match_criteria.map(json_object),
        checker: checker?,
    })
}

fn alpn_protocols(at: &At<'_>, message: pb::TlsOptions) -> Vec<Vec<u8>> {
    take!(at, message => pb::TlsOptions { supported: alpn_protocols; });
    let at = at.field("alpn_protocols");
    let protocols = alpn_protocols.into_iter().enumerate();
    let protocol = |(index, name): (usize, String)| {
        let at = at.index(index);
        if name.len() > usize::from(u8::MAX) {
            at.error(format!("{} bytes: must be at most 255", name.len()));
        }
        non_empty(&at, name).into_bytes()
    };
    protocols.map(protocol).collect()
}

/// Files that changes of health are written to.
fn event_logs(
    at: &At<'_>,
    path: &str,
    loggers: Vec<core::TypedExtensionConfig>,
) -> Vec<AccessLogSink> {
    let older = (!path.is_empty()).then(|| sink(path));
    let at = at.field("event_logger");
    let loggers = loggers.into_iter().enumerate();
    let newer = loggers.filter_map(|(index, message)| {
        let at = at.index(index);
        take!(at, message => core::TypedExtensionConfig {
            supported: typed_config;
            ignored: name = "the type of typed_config names the sink";
        });
        let at = at.field("typed_config");
        let any = at.required(typed_config)?;
        if type_name(&any)
            != "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"
        {
            at.unsupported(format!("{:?}", any.type_url));
            return None;
        }
        let message = unpack(&at, &any, codec::unpack_health_check_event_file_sink)?;
        take!(at, message => HealthCheckEventFileSink { supported: event_log_path; });
        Some(sink(&non_empty(
            &at.field("event_log_path"),
            event_log_path,
        )))
    });
    older.into_iter().chain(newer).collect()
}

fn sink(path: &str) -> AccessLogSink {
    match path {
        "/dev/stdout" => AccessLogSink::Stdout,
        "/dev/stderr" => AccessLogSink::Stderr,
        path => AccessLogSink::File(path.into()),
    }
}

#[cfg(test)]
mod tests;
