//! What came of the attempts at one host, counted by all workers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Outcome;
use crate::config::outlier_detection::{OutlierDetection, Rule};

/// Counts of one host.
#[derive(Debug, Default)]
pub(in super::super) struct Monitor {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failure: AtomicU32,
    consecutive_local_origin_failure: AtomicU32,
    /// Of errors that the host made.
    external: Tally,
    /// Of failures to reach it.
    local: Tally,
}

/// Failures in a row that may make a host an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Consecutive {
    Error,
    GatewayFailure,
    LocalOriginFailure,
}

/// Attempts since the last sweep.
#[derive(Debug, Default)]
pub(super) struct Tally {
    total: AtomicU64,
    succeeded: AtomicU64,
}

// === impl Monitor ===

impl Monitor {
    /// Counts an attempt. `suspect` hears of each threshold that is reached.
    pub(super) fn note(
        &self,
        settings: &OutlierDetection,
        outcome: Outcome,
        suspect: impl FnMut(Consecutive),
    ) {
        let is_split = settings.split_external_local_origin_errors;
        match outcome {
            Outcome::Answered(status) => self.answered(settings, status, suspect),
            Outcome::Connected | Outcome::ConnectedForGood if is_split => {
                self.local.count(true);
                reset(&self.consecutive_local_origin_failure);
            }
            Outcome::Failed | Outcome::TimedOut if is_split => self.failed(settings, suspect),
            // Without the split each failure is an error that a host might have made.
            Outcome::Failed => self.answered(settings, 503, suspect),
            Outcome::TimedOut => self.answered(settings, 504, suspect),
            Outcome::ConnectedForGood => self.answered(settings, 200, suspect),
            Outcome::Connected => {}
        }
    }

    fn answered(
        &self,
        settings: &OutlierDetection,
        status: u16,
        mut suspect: impl FnMut(Consecutive),
    ) {
        let is_error = (500..600).contains(&status);
        self.external.count(!is_error);
        if !is_error {
            reset(&self.consecutive_5xx);
            reset(&self.consecutive_gateway_failure);
            return;
        }
        if !matches!(status, 502..=504) {
            reset(&self.consecutive_gateway_failure);
        } else if reaches(
            &self.consecutive_gateway_failure,
            settings.consecutive_gateway_failure,
        ) {
            suspect(Consecutive::GatewayFailure);
        }
        if reaches(&self.consecutive_5xx, settings.consecutive_5xx) {
            suspect(Consecutive::Error);
        }
    }

    fn failed(&self, settings: &OutlierDetection, mut suspect: impl FnMut(Consecutive)) {
        self.local.count(false);
        let rule = settings.consecutive_local_origin_failure;
        if reaches(&self.consecutive_local_origin_failure, rule) {
            suspect(Consecutive::LocalOriginFailure);
        }
    }

    /// Starts to count anew, so that another bout is seen.
    pub(super) fn reset(&self, kind: Consecutive) {
        reset(match kind {
            Consecutive::Error => &self.consecutive_5xx,
            Consecutive::GatewayFailure => &self.consecutive_gateway_failure,
            Consecutive::LocalOriginFailure => &self.consecutive_local_origin_failure,
        });
    }

    pub(super) fn reset_all(&self) {
        let kinds = [
            Consecutive::Error,
            Consecutive::GatewayFailure,
            Consecutive::LocalOriginFailure,
        ];
        kinds.into_iter().for_each(|kind| self.reset(kind));
    }

    /// Attempts since this was asked last: errors of the host, and failures to reach it.
    pub(super) fn take(&self) -> [(u64, u64); 2] {
        [self.external.take(), self.local.take()]
    }
}

fn reaches(count: &AtomicU32, rule: Rule) -> bool {
    count.fetch_add(1, Relaxed).wrapping_add(1) == rule.threshold
}

/// Hosts mostly succeed: a count that is 0 is not written, so that workers do not fight for it.
fn reset(count: &AtomicU32) {
    if count.load(Relaxed) != 0 {
        count.store(0, Relaxed);
    }
}

// === impl Tally ===

impl Tally {
    fn count(&self, succeeded: bool) {
        self.total.fetch_add(1, Relaxed);
        if succeeded {
            self.succeeded.fetch_add(1, Relaxed);
        }
    }

    /// Attempts, and those that succeeded.
    fn take(&self) -> (u64, u64) {
        // In this order: what is counted between counts as failed rather than for more than all.
        let succeeded = self.succeeded.swap(0, Relaxed);
        let total = self.total.swap(0, Relaxed);
        (total, succeeded.min(total))
    }
}
