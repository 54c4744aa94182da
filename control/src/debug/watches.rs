//! How the registry is doing: the watches of the API server, what is wrong with objects, and services
//! that claim one address.

use serde::Serialize;
use weir_discovery::{
    kubernetes::{WatchStatus, Watches},
    model::Snapshot,
};

use super::metrics::Text;

/// What `/debug/watchz` shows.
#[derive(Debug, Serialize)]
pub(super) struct RegistryView {
    /// Empty without an API server.
    watches: Vec<WatchView>,
    /// What is wrong with objects of the cluster: fields that count as if they were not there.
    problems: Vec<String>,
    /// Destinations that two services give themselves.
    conflicts: Vec<ConflictView>,
}

#[derive(Debug, Serialize)]
struct WatchView {
    kind: &'static str,
    synced: bool,
    connected: bool,
    streaming: bool,
    objects: usize,
    events: u64,
    last_event_seconds: Option<u64>,
    lists: u64,
    restarts: u64,
    errors: u64,
    last_error: Option<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ConflictView {
    destination: String,
    service: String,
    ignored: String,
}

/// A number of each watch: kind of metric, name, help, value.
type OfWatch = (
    &'static str,
    &'static str,
    &'static str,
    fn(&WatchStatus) -> u64,
);

const OF_WATCH: [OfWatch; 9] = [
    (
        "gauge",
        "weir_watch_synced",
        "Whether a kind was listed once. Nothing is served before all were.",
        |it| u64::from(it.synced),
    ),
    (
        "gauge",
        "weir_watch_connected",
        "Whether a watch is open. 0 for long: changes of the kind are not seen; see the log.",
        |it| u64::from(it.connected),
    ),
    (
        "gauge",
        "weir_watch_objects",
        "Objects the model was told of.",
        |it| it.objects as u64,
    ),
    (
        "gauge",
        "weir_watch_problems",
        "Things that are wrong with objects; /debug/watchz names them.",
        |it| it.problems as u64,
    ),
    (
        "gauge",
        "weir_watch_silence_seconds",
        "Time since the API server said anything, bookmarks included. Minutes: it may be dead.",
        |it| it.last_event.unwrap_or_default().as_secs(),
    ),
    (
        "counter",
        "weir_watch_events_total",
        "Objects added, changed or deleted.",
        |it| it.events,
    ),
    (
        "counter",
        "weir_watch_lists_total",
        "Lists of a whole kind. A rise: the API server forgets faster than watches come back.",
        |it| it.lists,
    ),
    (
        "counter",
        "weir_watch_restarts_total",
        "Watches that ended as watches do, and were opened anew.",
        |it| it.restarts,
    ),
    (
        "counter",
        "weir_watch_errors_total",
        "Broken connections, refusals, and lines that make no sense; see the log.",
        |it| it.errors,
    ),
];

pub(super) fn view(watches: Option<&Watches>, snapshot: &Snapshot) -> RegistryView {
    let kinds = watches.map(Watches::kinds).unwrap_or_default().into_iter();
    let problems = watches.map(Watches::problems).unwrap_or_default();
    let mut conflicts: Vec<_> = snapshot
        .conflicts()
        .map(|conflict| ConflictView {
            destination: conflict.destination.to_string(),
            service: conflict.service.to_string(),
            ignored: conflict.ignored.to_string(),
        })
        .collect();
    conflicts.sort();
    RegistryView {
        watches: kinds.map(WatchView::from).collect(),
        problems: problems.iter().map(ToString::to_string).collect(),
        conflicts,
    }
}

/// Appends the metrics of the watches.
pub(super) fn write(text: &mut Text, watches: &Watches) {
    let kinds = watches.kinds();
    for (kind, name, help, value) in OF_WATCH {
        let values = kinds.iter().map(|watch| (watch.kind, value(watch)));
        text.labelled(kind, (name, "kind"), help, values);
    }
}

// === impl WatchView ===

impl From<WatchStatus> for WatchView {
    fn from(status: WatchStatus) -> Self {
        Self {
            kind: status.kind,
            synced: status.synced,
            connected: status.connected,
            streaming: status.streaming,
            objects: status.objects,
            events: status.events,
            last_event_seconds: status.last_event.map(|it| it.as_secs()),
            lists: status.lists,
            restarts: status.restarts,
            errors: status.errors,
            last_error: status.last_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_line_before_anything_was_heard() {
        let watches = Watches::default();
        let mut text = Text::default();
        write(&mut text, &watches);
        let text = text.into_string();
        for kind in [
            "Service",
            "EndpointSlice",
            "Pod",
            "Node",
            "PeerAuthentication",
            "AuthorizationPolicy",
            "RequestAuthentication",
            "HTTPRoute",
            "GRPCRoute",
            "ReferenceGrant",
            "DestinationRule",
            "VirtualService",
            "ServiceEntry",
            "WorkloadEntry",
            "Sidecar",
        ] {
            let line = format!("\nweir_watch_synced{{kind=\"{kind}\"}} 0\n");
            assert!(text.contains(&line), "{text}");
        }
        let view = view(Some(&watches), &Snapshot::default());
        assert_eq!(view.watches.len(), 15);
        assert!(
            view.watches
                .iter()
                .all(|it| it.last_event_seconds.is_none())
        );
    }
}
