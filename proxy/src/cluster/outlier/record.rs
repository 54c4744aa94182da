//! How long one host is ejected.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::health::{HealthFlags, HostHealth};
use crate::config::outlier_detection::OutlierDetection;

/// What is known of one host.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) health: Arc<HostHealth>,
    /// When it was ejected, if it is.
    since: Option<Instant>,
    /// How many base times it is ejected for; less by one for each interval without.
    backoff: u32,
    jitter: Duration,
    /// Its success rates in the last interval, percent.
    pub(super) rates: [Option<f64>; 2],
}

// === impl Record ===

impl Record {
    /// A host of which nothing was seen yet.
    pub(super) fn new(health: Arc<HostHealth>) -> Self {
        Self {
            health,
            since: None,
            backoff: 0,
            jitter: Duration::ZERO,
            rates: [None; 2],
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn eject(&mut self, settings: &OutlierDetection, random: u64, now: Instant) {
        self.since = Some(now);
        self.jitter = jitter(settings, random);
        let base = settings.base_ejection_time;
        if base.saturating_mul(self.backoff) < settings.max_ejection_time.saturating_add(base) {
            self.backoff += 1;
        }
        self.health.set(HealthFlags::FAILED_OUTLIER_CHECK);
        self.health.fail();
    }

    /// Whether its time is over.
    pub(super) fn uneject_in_time(&mut self, settings: &OutlierDetection, now: Instant) -> bool {
        let Some(since) = self.since else {
            self.backoff = self.backoff.saturating_sub(1);
            return false;
        };
        let time = settings.base_ejection_time.saturating_mul(self.backoff);
        let time = time.min(settings.max_ejection_time);
        let is_over = now.duration_since(since) >= time.saturating_add(self.jitter);
        if is_over {
            self.uneject();
        }
        is_over
    }

    pub(super) fn uneject(&mut self) {
        self.since = None;
        self.health.clear(HealthFlags::FAILED_OUTLIER_CHECK);
        // A count that is near its threshold would eject it again at once.
        self.health.monitor.reset_all();
    }
}

/// So that hosts do not come back all at once.
fn jitter(settings: &OutlierDetection, random: u64) -> Duration {
    let most = settings.max_ejection_time_jitter.as_millis();
    match u64::try_from(most).unwrap_or(u64::MAX) {
        0 => Duration::ZERO,
        most => Duration::from_millis(random % (most + 1)),
    }
}
