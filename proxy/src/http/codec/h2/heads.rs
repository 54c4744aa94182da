//! What heads of requests hold. A few octets on the wire can say a large field again and again (RFC 7541
//! section 7.3 leaves that to whoever decodes): what counts is the size that they come to.

use std::cell::Cell;

/// Heads up to this size hold nothing that counts: a stream costs more by itself.
pub(super) const SMALL: usize = 4096;
/// What the heads of a connection's open streams may come to together, bytes: as many as a gateway has
/// calls at a time, each with a token, and no more than a client may have of everybody's.
const MAX_OF_CONNECTION: usize = 8 << 20;
/// The same of a worker's connections.
const MAX_OF_WORKER: usize = 32 << 20;

thread_local! {
    /// Of all connections of this worker, which is a thread.
    static OF_WORKER: Cell<usize> = const { Cell::new(0) };
}

/// What heads of a connection's open streams come to.
#[derive(Debug, Default)]
pub(super) struct Heads {
    bytes: usize,
}

// === impl Heads ===

impl Heads {
    /// Bytes that another head may have.
    pub(super) fn room(&self) -> usize {
        let of_worker = MAX_OF_WORKER.saturating_sub(OF_WORKER.get());
        let room = MAX_OF_CONNECTION.saturating_sub(self.bytes);
        room.min(of_worker).max(SMALL)
    }

    /// A stream has such a head. Returns what is to be given back once the stream is gone.
    pub(super) fn hold(&mut self, size: usize) -> usize {
        let held = if size > SMALL { size } else { 0 };
        self.bytes += held;
        OF_WORKER.set(OF_WORKER.get() + held);
        held
    }

    pub(super) fn give_back(&mut self, held: usize) {
        self.bytes -= held;
        OF_WORKER.set(OF_WORKER.get() - held);
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_its_part_and_a_worker_all_of_it() {
        let head = 256 * 1024;
        let mut all: Vec<_> = (0..5).map(|_| Heads::default()).collect();
        for heads in &mut all {
            while heads.room() >= head {
                heads.hold(head);
            }
        }
        let held: Vec<_> = all.iter().map(|heads| heads.bytes).collect();
        assert_eq!(
            held,
            [
                MAX_OF_CONNECTION,
                MAX_OF_CONNECTION,
                MAX_OF_CONNECTION,
                MAX_OF_CONNECTION,
                0
            ]
        );
        let mut last = all.pop().expect("the fifth");
        assert_eq!(
            (last.room(), last.hold(SMALL)),
            (SMALL, 0),
            "small ones are always taken"
        );
        all.pop();
        assert_eq!(last.room(), MAX_OF_CONNECTION);
        drop((all, last));
        assert_eq!(OF_WORKER.get(), 0);
    }
}
