//! Connections that cannot be accepted, such as for want of files: it may be so for hours, a hundred times a
//! second.

use std::{
    io,
    time::{Duration, Instant},
};

/// Between two lines of the log.
const PERIOD: Duration = Duration::from_secs(10);

/// What was said of failures.
#[derive(Debug, Default)]
pub(super) struct Failures {
    said: Option<Instant>,
    since: u64,
}

// === impl Failures ===

impl Failures {
    /// Notes one, and says so where that was not said lately.
    pub(super) fn note(&mut self, error: &io::Error) {
        let Some(more) = self.due(Instant::now()) else {
            return;
        };
        tracing::warn!(%error, more, "accept failed; trying again");
    }

    /// Notes one. How many came since the last line, if one is due.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now < said + PERIOD) {
            self.since += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_at_once_and_then_each_ten_seconds() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        assert_eq!(failures.due(now), Some(0));
        for number in 0..500 {
            assert_eq!(failures.due(now + Duration::from_millis(number)), None);
        }
        assert_eq!(failures.due(now + PERIOD), Some(500));
        assert_eq!(failures.due(now + PERIOD), None);
    }
}
