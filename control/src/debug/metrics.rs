//! Metrics in the Prometheus text format.

mod text;

use std::time::SystemTime;

use weir_discovery::{
    kubernetes::Watches,
    xds::{Counts, Fault, Hub, KindCounts},
};

pub(super) use self::text::Text;
use super::watches;
use crate::{certificates::Serving, guards::Guards, issuer::Issuer};

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

/// The metrics of discovery.
pub(super) fn page(hub: &Hub, watches: Option<&Watches>) -> String {
    let mut text = Text::default();
    let counts = hub.metrics().counts();
    clients(&mut text, hub, &counts);
    resources(&mut text, &counts);
    times(&mut text, &counts);
    registry(&mut text, hub, &counts);
    if let Some(watches) = watches {
        watches::write(&mut text, watches);
    }
    text.into_string()
}

/// The metrics of the certificates.
pub(super) fn certificates(serving: &Serving, issuer: &Issuer) -> String {
    let mut text = Text::default();
    for (name, help, at) in [
        (
            "weir_serving_cert_expiry_seconds",
            "Time until the serving certificate ends.",
            serving.not_after(),
        ),
        (
            "weir_root_cert_expiry_seconds",
            "Time until the first of the root certificates ends that workloads trust.",
            issuer.trusted_until(),
        ),
    ] {
        let left = at.and_then(|at| at.duration_since(SystemTime::now()).ok());
        text.single("gauge", name, help, left.unwrap_or_default().as_secs());
    }
    text.single(
        "counter",
        "weir_workload_certs_issued_total",
        "Certificates issued to workloads.",
        issuer.issued(),
    );
    text.labelled(
        "counter",
        ("weir_workload_certs_refused_total", "reason"),
        "Certificates that workloads were refused; the debug log says who and why.",
        issuer.refused(),
    );
    text.into_string()
}

/// The metrics of the listeners.
pub(super) fn connections(guards: &Guards) -> String {
    let mut text = Text::default();
    text.labelled(
        "gauge",
        ("weir_connections", "listener"),
        "Connections open.",
        guards.connections(),
    );
    for (name, help, values) in [
        (
            "weir_connections_refused_total",
            "Connections that were refused: all that there may be, or all of one source address, were in use.",
            guards.refused().collect::<Vec<_>>(),
        ),
        (
            "weir_connections_closed_total",
            "Connections that were closed: for a newer one's place, for want of a first request, for \
             idleness, or because a request did not get on. Those for a place rise under attack.",
            guards.closed().collect(),
        ),
    ] {
        text.labelled_twice("counter", (name, ["listener", "reason"]), help, values);
    }
    text.into_string()
}

fn clients(text: &mut Text, hub: &Hub, counts: &Counts) {
    let sizes = hub.sizes();
    for (kind, name, help, value) in [
        (
            "gauge",
            "weir_xds_clients",
            "Connected clients.",
            sizes.clients as u64,
        ),
        (
            "gauge",
            "weir_xds_topics",
            "Names that clients subscribed to.",
            sizes.topics as u64,
        ),
        (
            "gauge",
            "weir_xds_clients_waiting",
            "Clients that wait for their turn to be told something.",
            counts.waiting,
        ),
        (
            "gauge",
            "weir_xds_clients_pushing",
            "Clients whose turn it is.",
            counts.pushing,
        ),
        (
            "counter",
            "weir_xds_streams_total",
            "Streams that clients opened.",
            counts.streams_opened,
        ),
        (
            "counter",
            "weir_xds_connections_aged_total",
            "Connections that ended because of their age.",
            counts.connections_aged,
        ),
    ] {
        text.single(kind, name, help, value);
    }
    text.labelled(
        "counter",
        ("weir_xds_faults_total", "fault"),
        "What clients did that they should not; logs and /debug/syncz name them.",
        Fault::ALL.map(|fault| {
            (
                fault.word(),
                counts.faults.get(&fault).copied().unwrap_or(0),
            )
        }),
    );
}

fn resources(text: &mut Text, counts: &Counts) {
    for (name, help, value) in BY_KIND {
        let kinds = counts.kinds.iter();
        let values = kinds.map(|(kind, counts)| (kind.word(), value(counts)));
        text.labelled("counter", (name, "kind"), help, values);
    }
}

fn times(text: &mut Text, counts: &Counts) {
    for (name, help, histogram) in [
        (
            "weir_xds_publish_seconds",
            "To build what changed and tell the mailboxes of clients.",
            &counts.publish_time,
        ),
        (
            "weir_xds_queue_seconds",
            "From when there may be something to say to a client to its turn.",
            &counts.queue_time,
        ),
        (
            "weir_xds_push_seconds",
            "From a response to when the client's connection has taken it.",
            &counts.push_time,
        ),
        (
            "weir_xds_convergence_seconds",
            "From the first event of a change to the ACK of a client.",
            &counts.convergence,
        ),
    ] {
        text.histogram(name, help, histogram);
    }
}

fn registry(text: &mut Text, hub: &Hub, counts: &Counts) {
    let snapshot = hub.snapshot().unwrap_or_default();
    for (name, help, value) in [
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
            "weir_address_conflicts",
            "Destinations two services claim; the older has them. /debug/watchz names them.",
            snapshot.conflicts().count() as u64,
        ),
    ] {
        text.single("gauge", name, help, value);
    }
    text.single(
        "counter",
        "weir_xds_publishes_total",
        "Snapshots published after debounce.",
        counts.publishes,
    );
}
