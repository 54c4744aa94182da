//! Metrics in the Prometheus text format.

use std::{fmt::Write, time::SystemTime};

use weir_discovery::xds::{CONVERGENCE_BOUNDS, Counts, Hub, KindCounts};

use crate::certificates::Serving;

/// A counter by kind of resource: name, help, value.
type ByKind = (&'static str, &'static str, fn(&KindCounts) -> u64);

const BY_KIND: [ByKind; 5] = [
    ("weir_xds_responses_total", "Responses sent.", |it| {
        it.responses
    }),
    (
        "weir_xds_resources_sent_total",
        "Resources in responses.",
        |it| it.resources,
    ),
    (
        "weir_xds_resources_removed_total",
        "Names in responses of what is gone or never was.",
        |it| it.removed,
    ),
    (
        "weir_xds_acks_total",
        "Responses that clients accepted.",
        |it| it.acks,
    ),
    (
        "weir_xds_nacks_total",
        "Responses that clients rejected. They run on old configuration: see /debug/syncz.",
        |it| it.nacks,
    ),
];

/// Appends the metrics of discovery and of the certificates.
pub(super) fn write(out: &mut String, hub: &Hub, serving: &Serving) {
    let counts = hub.metrics().counts();
    let status = hub.status();
    let snapshot = hub.snapshot().unwrap_or_default();
    for (name, help, value) in BY_KIND {
        head(out, name, "counter", help);
        for (kind, counts) in &counts.kinds {
            line(
                out,
                name,
                &format!("{{kind=\"{}\"}}", kind.word()),
                value(counts),
            );
        }
    }
    for (name, help, value) in [
        (
            "weir_xds_streams_total",
            "Streams that clients opened.",
            counts.streams_opened,
        ),
        (
            "weir_xds_bad_requests_total",
            "Requests that made no sense.",
            counts.bad_requests,
        ),
        (
            "weir_xds_publishes_total",
            "Snapshots published after debounce.",
            counts.publishes,
        ),
    ] {
        head(out, name, "counter", help);
        line(out, name, "", value);
    }
    let expiry = serving.not_after().unwrap_or(SystemTime::UNIX_EPOCH);
    let expiry = expiry.duration_since(SystemTime::now());
    let expiry = expiry.unwrap_or_default().as_secs();
    for (name, help, value) in [
        (
            "weir_xds_clients",
            "Connected clients.",
            status.clients.len() as u64,
        ),
        (
            "weir_xds_topics",
            "Names that clients subscribed to.",
            status.topics as u64,
        ),
        (
            "weir_services",
            "Services known.",
            snapshot.service_count() as u64,
        ),
        (
            "weir_pod_addresses",
            "Addresses of pods known.",
            snapshot.pod_address_count() as u64,
        ),
        (
            "weir_serving_cert_expiry_seconds",
            "Time until the serving certificate ends.",
            expiry,
        ),
    ] {
        head(out, name, "gauge", help);
        line(out, name, "", value);
    }
    convergence(out, &counts);
}

fn convergence(out: &mut String, counts: &Counts) {
    const NAME: &str = "weir_xds_convergence_seconds";
    head(
        out,
        NAME,
        "histogram",
        "From the first event of a change to the ACK of a client.",
    );
    let mut sum = 0;
    let bounds = CONVERGENCE_BOUNDS.iter().map(ToString::to_string);
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts.convergence) {
        sum += count;
        line(
            out,
            &format!("{NAME}_bucket"),
            &format!("{{le=\"{bound}\"}}"),
            sum,
        );
    }
    line(out, &format!("{NAME}_sum"), "", counts.convergence_sum);
    line(out, &format!("{NAME}_count"), "", sum);
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name}{labels} {value}");
}
