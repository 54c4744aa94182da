//! What is said of a control plane that is not reached: the reason when it is news, and every minute
//! that it is still so.

use std::time::{Duration, Instant};

/// Between reminders.
const REMIND: Duration = Duration::from_secs(60);

/// A time without a stream to the control plane.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    /// The last reason that was said.
    reason: String,
    next_reminder: Instant,
}

/// Something to be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The reason, for the first time.
    News,
    /// That it is so for this long already.
    Reminder(Duration),
}

// === impl Outage ===

impl Outage {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            reason: String::new(),
            next_reminder: now + REMIND,
        }
    }

    /// What to say when an attempt has failed for this reason. The same each time helps nobody.
    pub(super) fn failed(&mut self, reason: &str) -> Option<Word> {
        if self.reason == reason {
            return None;
        }
        reason.clone_into(&mut self.reason);
        Some(Word::News)
    }

    /// What to say because time has passed.
    pub(super) fn remind(&mut self, now: Instant) -> Option<Word> {
        if now < self.next_reminder {
            return None;
        }
        self.next_reminder = now + REMIND;
        Some(Word::Reminder(now.duration_since(self.since)))
    }

    /// When there will be something to say because time has passed.
    pub(super) fn next_reminder(&self) -> Instant {
        self.next_reminder
    }

    /// The last reason, for people.
    pub(super) fn reason(&self) -> &str {
        match self.reason.as_str() {
            "" => "no answer",
            reason => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_and_the_outage_every_minute() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::new(start);
        assert_eq!(outage.reason(), "no answer");
        assert_eq!(outage.failed("cannot connect"), Some(Word::News));
        assert_eq!(outage.failed("cannot connect"), None);
        assert_eq!(outage.remind(after(59)), None);
        for minute in 1..4 {
            let passed = Duration::from_secs(60 * minute);
            assert_eq!(outage.next_reminder(), start + passed);
            assert_eq!(outage.remind(start + passed), Some(Word::Reminder(passed)));
            assert_eq!(outage.remind(start + passed), None);
        }
        assert_eq!(outage.failed("unauthenticated"), Some(Word::News));
        assert_eq!(outage.reason(), "unauthenticated");
    }
}
