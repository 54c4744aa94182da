//! What one worker counts flows with.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use hashbrown::HashMap;
use weir_api::names;

use super::{
    FlowProtocol, FlowVerdict, MANY, MAX_FLOWS,
    key::{Kept, Key, method},
    shard::{Minutes, Shard},
    template::{beginning, template},
};
use crate::{
    info::{ConnectionInfo, Outcome},
    reason::Reason,
};

/// Ticks a minute.
const TICKS: usize = 6;

/// What one worker counts flows with.
pub(crate) struct FlowRecorder {
    shard: Arc<Shard>,
    known: RefCell<HashMap<Arc<Kept>, Arc<Minutes>>>,
    minutes: usize,
    /// Grows every ten seconds.
    tick: Cell<usize>,
    /// Room for a path.
    path: RefCell<String>,
}

// === impl FlowRecorder ===

impl FlowRecorder {
    pub(super) fn new(shard: Arc<Shard>, minutes: usize) -> Self {
        Self {
            shard,
            known: RefCell::default(),
            minutes,
            tick: Cell::new(0),
            path: RefCell::default(),
        }
    }

    /// Counts a request that has ended, by its method and its path without a query.
    pub(crate) fn request(
        &self,
        connection: &ConnectionInfo,
        outcome: &Outcome,
        is_grpc: bool,
        (method_said, path_said): (&str, &str),
    ) {
        if !is_counted(connection) {
            return;
        }
        let mut path = self.path.borrow_mut();
        template(path_said, &mut path);
        self.count(&Key {
            protocol: match is_grpc {
                true => FlowProtocol::Grpc,
                false => FlowProtocol::Http,
            },
            verdict: FlowVerdict::of(outcome.reason != Some(Reason::AccessDenied)),
            method: method(method_said),
            path: &path,
            ..connected(connection)
        });
    }

    /// Counts a connection that carries no requests, once it is known what rules say of it.
    pub(crate) fn connection(&self, connection: &ConnectionInfo) {
        if is_counted(connection) {
            self.count(&Key {
                verdict: FlowVerdict::of(!connection.is_refused()),
                ..connected(connection)
            });
        }
    }

    pub(super) fn count(&self, key: &Key<'_>) {
        let mut known = self.known.borrow_mut();
        let minute = self.minute();
        if let Some(minutes) = known.get(key) {
            return minutes.count(minute);
        }
        let [many, very_many] = MANY;
        let start = beginning(key.path).filter(|_| known.len() < very_many);
        let shorter = match (key.path, start) {
            ("", _) => String::new(),
            (_, Some(start)) => format!("{start}/{{**}}"),
            _ => "/{**}".to_owned(),
        };
        let path = match known.len() >= many {
            true => &shorter,
            false => key.path,
        };
        let key = Key { path, ..*key };
        if let Some(minutes) = known.get(&key) {
            return minutes.count(minute);
        }
        if known.len() >= MAX_FLOWS {
            return self.count_unkept(key.verdict, minute);
        }
        let (kept, minutes) = (Arc::new(key.keep()), Arc::new(Minutes::new(self.minutes)));
        minutes.count(minute);
        known.insert(Arc::clone(&kept), Arc::clone(&minutes));
        self.shard.with(|table| table.flows.push((kept, minutes)));
    }

    fn count_unkept(&self, verdict: FlowVerdict, minute: usize) {
        self.shard.with(|table| {
            let counts = &mut table.not_kept[usize::from(verdict == FlowVerdict::Denied)];
            if counts.is_empty() {
                *counts = Minutes::new(self.minutes);
            }
            counts.count(minute);
        });
    }

    /// Ten seconds have passed: a minute may begin, and what was counted before the first of them is
    /// forgotten.
    pub(crate) fn age(&self) {
        let before = self.minute();
        self.tick.set(self.tick.get().wrapping_add(1));
        let minute = self.minute();
        if minute == before && self.minutes > 1 || self.tick.get() % TICKS != 0 {
            return;
        }
        let mut known = self.known.borrow_mut();
        self.shard.with(|table| {
            table
                .not_kept
                .iter()
                .for_each(|counts| counts.begin(minute));
            table
                .flows
                .iter()
                .for_each(|(_, counts)| counts.begin(minute));
            table.flows.retain(|(_, counts)| counts.sum() > 0);
        });
        let all = known.len();
        known.retain(|_, counts| counts.sum() > 0);
        if known.len() < all {
            known.shrink_to_fit();
            self.shard.with(|table| table.flows.shrink_to_fit());
        }
    }

    /// The place of this minute in the ring.
    fn minute(&self) -> usize {
        self.tick.get() / TICKS % self.minutes
    }
}

/// Whether it is traffic for the application: what the kubelet asks is let through whatever rules say.
fn is_counted(connection: &ConnectionInfo) -> bool {
    let chain = connection.chain.as_ref();
    let is_of_probes = chain.is_some_and(|chain| names::is_of_probes(&chain.name));
    connection.is_inbound() && !is_of_probes
}

/// What is known of a connection.
fn connected(connection: &ConnectionInfo) -> Key<'_> {
    let tls = connection.tls.as_deref();
    let names = tls.and_then(|tls| tls.peer_names());
    Key {
        principal: names
            .and_then(|names| names.uris.first())
            .map(String::as_str),
        port: connection.original_destination.0.port(),
        protocol: FlowProtocol::Tcp,
        verdict: FlowVerdict::Allowed,
        method: "",
        path: "",
    }
}
