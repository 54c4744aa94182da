//! What a peer may do without giving us anything to do. Each thing has a budget, which useful work
//! and time fill up again: whoever empties one causes work for nothing.

use std::time::{Duration, Instant};

/// Budgets at the beginning, and at most: beyond what any client does at once.
const MOST: u32 = 1000;
/// WINDOW_UPDATE for each DATA that is sent: some clients open the windows of stream and connection
/// for every four kilobytes. They may do so long after: windows of 16 MiB take a thousand frames.
const WINDOWS: u32 = 16;
const MOST_WINDOWS: u32 = 1 << 20;
/// What each budget gets back, besides for work.
const EACH: Duration = Duration::from_millis(10);

/// What costs us something and brings nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// A stream that the peer resets before it has an answer, or that it is to blame for.
    Reset,
    /// A frame that carries nothing where it should: DATA, CONTINUATION.
    Empty,
    /// PING
    Ping,
    /// SETTINGS
    Settings,
    /// PRIORITY, and frames that nobody knows.
    Ignored,
    /// WINDOW_UPDATE
    Window,
}

const KINDS: usize = 6;

/// The budgets of a connection.
#[derive(Debug)]
pub(super) struct Floods {
    left: [u32; KINDS],
    filled: Option<Instant>,
}

// === impl Floods ===

impl Default for Floods {
    fn default() -> Self {
        Self {
            left: [MOST; KINDS],
            filled: None,
        }
    }
}

impl Floods {
    /// Some time has passed.
    pub(super) fn pass(&mut self, now: Instant) {
        let filled = *self.filled.get_or_insert(now);
        let passed = now.saturating_duration_since(filled);
        if passed >= EACH {
            let steps = passed.as_millis() / EACH.as_millis();
            let steps = u32::try_from(steps).map_or(MOST, |steps| steps.min(MOST));
            self.filled = Some(now);
            self.fill_all(steps);
        }
    }

    /// The peer did something. False if that is too much.
    #[must_use]
    pub(super) fn spend(&mut self, kind: Idle) -> bool {
        let left = &mut self.left[kind as usize];
        let is_left = *left > 0;
        *left = left.saturating_sub(1);
        is_left
    }

    /// Something useful happened.
    pub(super) fn work(&mut self) {
        self.fill_all(1);
    }

    /// DATA was sent: the peer may well open windows for it, and measure how long it took.
    pub(super) fn sent(&mut self) {
        let left = &mut self.left[Idle::Window as usize];
        *left = (*left + WINDOWS).min(MOST_WINDOWS);
        let left = &mut self.left[Idle::Ping as usize];
        *left = (*left + 1).min(MOST);
    }

    fn fill_all(&mut self, by: u32) {
        for left in &mut self.left {
            *left = (*left).max((*left + by).min(MOST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_is_filled_by_work_and_time() {
        let mut floods = Floods::default();
        let now = Instant::now();
        floods.pass(now);
        for _ in 0..MOST {
            assert!(floods.spend(Idle::Ping));
        }
        assert!(!floods.spend(Idle::Ping));
        assert!(floods.spend(Idle::Settings), "each has its own");
        floods.work();
        assert!(floods.spend(Idle::Ping) && !floods.spend(Idle::Ping));
        floods.pass(now + EACH * 3);
        assert_eq!(
            [(); 4].map(|()| floods.spend(Idle::Ping)),
            [true, true, true, false]
        );
    }

    #[test]
    fn windows_are_opened_for_what_was_sent() {
        let mut floods = Floods::default();
        (0..1000).for_each(|_| floods.sent());
        floods.work();
        for _ in 0..1000 * WINDOWS {
            assert!(floods.spend(Idle::Window));
        }
    }
}
