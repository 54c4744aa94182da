//! Streams that a client resets before they are answered, soon after it opened them: each costs a
//! connection to an endpoint or a part of one, and the client next to nothing. What is too much is Envoy's
//! rule: half of the streams of a connection, once half of them can be of so many.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/runtime>

use std::cell::Cell;

use tokio::time::Instant;

use crate::exchange::ConnectionManager;

/// Runtime keys, and their values where runtime has none.
const TOTAL_STREAMS: (&str, u64) = ("overload.premature_reset_total_stream_count", 500);
const MIN_LIFETIME: (&str, u64) = ("overload.premature_reset_min_stream_lifetime_seconds", 1);

/// The streams of a connection that are over.
#[derive(Debug, Default)]
pub(super) struct PrematureResets {
    over: Cell<u64>,
    premature: Cell<u64>,
    too_many: Cell<bool>,
}

// === impl PrematureResets ===

impl PrematureResets {
    /// A stream was answered.
    pub(super) fn note_answered(&self) {
        self.over.set(self.over.get() + 1);
    }

    /// A stream that began then was reset before it had an answer.
    pub(super) fn note_reset(&self, manager: &ConnectionManager, began: Instant) {
        let runtime = manager.context.routes.runtime();
        let number = |(key, default)| runtime.integer(key, default);
        let is_premature = began.elapsed().as_secs() <= number(MIN_LIFETIME);
        self.note(is_premature, number(TOTAL_STREAMS));
    }

    fn note(&self, is_premature: bool, total: u64) {
        self.note_answered();
        if !is_premature {
            return;
        }
        self.premature.set(self.premature.get() + 1);
        // If all that come up to `total` were answered, half of them were reset nevertheless.
        let of = self.over.get().max(total);
        if self.premature.get() * 2 >= of {
            self.too_many.set(true);
        }
    }

    /// Whether the connection is to end for it.
    pub(super) fn are_too_many(&self) -> bool {
        self.too_many.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_streams_may_be_reset_but_not_half_of_many() {
        let resets = PrematureResets::default();
        (0..249).for_each(|_| resets.note(true, 500));
        assert!(!resets.are_too_many());
        resets.note(false, 500);
        assert!(!resets.are_too_many());
        resets.note(true, 500);
        assert!(resets.are_too_many());
    }

    #[test]
    fn a_client_with_many_answers_may_reset_as_many() {
        let resets = PrematureResets::default();
        (0..1000).for_each(|_| resets.note_answered());
        (0..999).for_each(|_| resets.note(true, 500));
        assert!(!resets.are_too_many());
        resets.note(true, 500);
        assert!(resets.are_too_many());
    }
}
