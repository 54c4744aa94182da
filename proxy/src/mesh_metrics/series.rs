//! What a series holds: plain numbers that one worker writes.

use super::{Kind, Protocol};
use crate::stats::{Counter, Gauge, Histogram};

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// A request has ended.
    Request {
        duration_us: u64,
        request_bytes: u64,
        response_bytes: u64,
    },
    /// A connection that carries no requests was opened.
    Opened,
    /// It has ended.
    Closed,
    /// Bytes have moved on it.
    Moved { to_server: u64, to_client: u64 },
}

/// A series.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) numbers: Numbers,
    /// The tick at which it was counted last.
    used: Gauge,
}

/// See [`Series`].
#[derive(Debug)]
pub(super) enum Numbers {
    Requests(Box<Requests>),
    Connections(Connections),
}

/// Requests of one kind between the same two.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) total: Counter,
    pub(super) duration: Histogram,
    pub(super) request_bytes: Histogram,
    pub(super) response_bytes: Histogram,
}

/// Connections of one kind between the same two.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) opened: Counter,
    pub(super) closed: Counter,
    /// From servers to clients, as Istio has it.
    pub(super) sent_bytes: Counter,
    /// From clients to servers.
    pub(super) received_bytes: Counter,
}

// === impl Series ===

impl Series {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            numbers: match kind.protocol {
                Protocol::Tcp => Numbers::Connections(Connections::default()),
                Protocol::Http | Protocol::Grpc => Numbers::Requests(Box::default()),
            },
            used: Gauge::default(),
        }
    }

    /// The tick at which it was counted last.
    pub(super) fn used(&self) -> i64 {
        self.used.get()
    }

    pub(super) fn count(&self, event: Event, tick: i64) {
        self.used.set(tick);
        match (&self.numbers, event) {
            (
                Numbers::Requests(series),
                Event::Request {
                    duration_us,
                    request_bytes,
                    response_bytes,
                },
            ) => {
                series.total.inc();
                series.duration.record_us(duration_us);
                series.request_bytes.record(request_bytes);
                series.response_bytes.record(response_bytes);
            }
            (Numbers::Connections(series), Event::Opened) => series.opened.inc(),
            (Numbers::Connections(series), Event::Closed) => series.closed.inc(),
            (
                Numbers::Connections(series),
                Event::Moved {
                    to_server,
                    to_client,
                },
            ) => {
                series.received_bytes.add(to_server);
                series.sent_bytes.add(to_client);
            }
            // A key says which of the two it is of.
            _ => {}
        }
    }
}
