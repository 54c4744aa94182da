//! What the checks of a host have come to. Without a clock, a socket or a random number of its own.

use std::time::Duration;

use super::super::health::HealthFlags;
use crate::config::health_check::{HealthCheck, Intervals};

/// The checks of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// Successes in a row, while it is unhealthy.
    succeeded: u32,
    /// Failures in a row that leave it healthy.
    failed: u32,
    is_first: bool,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The host is healthy, though it may say that it is degraded.
    Success { is_degraded: bool },
    /// It is not.
    Failure(Failure),
}

/// A check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// It counts towards the threshold, though the host did answer.
    pub(super) is_retriable: bool,
    /// The host says that it is not to count at all (`x-envoy-immediate-health-check-fail`).
    pub(super) excludes: bool,
    /// Of the response, where it was one of HTTP; else 0.
    pub(super) status: u16,
}

/// `envoy.data.core.v3.HealthCheckFailureType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The host says so.
    Active,
    /// It could not be asked.
    Network,
    /// It did not answer in time.
    NetworkTimeout,
}

/// What a check changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The host's flags from now on.
    pub(super) flags: HealthFlags,
    pub(super) transition: Transition,
    /// What is to be written down, in this order.
    pub(super) events: Vec<Event>,
}

/// How the health of a host moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    Unchanged,
    /// Another flag.
    Changed,
    /// It will, if the next checks end alike.
    ChangePending,
}

/// What is written down (`envoy.data.core.v3.HealthCheckEvent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    EjectUnhealthy {
        kind: FailureKind,
        status: u16,
    },
    AddHealthy {
        is_first: bool,
    },
    Success,
    Failure {
        kind: FailureKind,
        is_first: bool,
        status: u16,
    },
    Degraded,
    NoLongerDegraded,
}

// === impl Session ===

impl Session {
    pub(super) fn new() -> Self {
        Self {
            succeeded: 0,
            failed: 0,
            is_first: true,
        }
    }

    /// Takes in what came of a check of a host with these flags.
    pub(super) fn step(
        &mut self,
        rules: &HealthCheck,
        flags: HealthFlags,
        verdict: Verdict,
    ) -> Step {
        let mut step = Step {
            flags,
            transition: Transition::Unchanged,
            events: Vec::new(),
        };
        match verdict {
            Verdict::Success { is_degraded } => self.succeed(rules, is_degraded, &mut step),
            Verdict::Failure(failure) => self.fail(rules, failure, &mut step),
        }
        self.is_first = false;
        step
    }

    fn succeed(&mut self, rules: &HealthCheck, is_degraded: bool, step: &mut Step) {
        self.failed = 0;
        if step.flags.has(HealthFlags::FAILED_ACTIVE_HC) {
            self.succeeded = self.succeeded.wrapping_add(u32::from(!self.is_first));
            // One is enough at first, so that a start takes no longer than it must.
            if self.is_first || self.succeeded == rules.healthy_threshold {
                step.clear(HealthFlags::ACTIVE_HC_TIMEOUT);
                step.clear(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL);
                step.clear(HealthFlags::FAILED_ACTIVE_HC);
                step.transition = Transition::Changed;
                let is_first = self.is_first;
                step.events.push(Event::AddHealthy { is_first });
            } else {
                step.transition = Transition::ChangePending;
            }
        }
        if step.transition != Transition::Changed && rules.always_log_success {
            step.events.push(Event::Success);
        }
        step.end_pending();
        if is_degraded != step.flags.has(HealthFlags::DEGRADED_ACTIVE_HC) {
            if is_degraded {
                step.set(HealthFlags::DEGRADED_ACTIVE_HC);
                step.events.push(Event::Degraded);
            } else {
                step.clear(HealthFlags::DEGRADED_ACTIVE_HC);
                step.events.push(Event::NoLongerDegraded);
            }
            if step.transition == Transition::Unchanged {
                step.transition = Transition::Changed;
            }
        }
    }

    fn fail(&mut self, rules: &HealthCheck, failure: Failure, step: &mut Step) {
        let Failure {
            kind,
            is_retriable,
            excludes,
            status,
        } = failure;
        self.succeeded = 0;
        if excludes {
            step.set(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL);
        }
        if !step.flags.has(HealthFlags::FAILED_ACTIVE_HC) {
            let counts = kind != FailureKind::Active || is_retriable;
            self.failed = self.failed.wrapping_add(u32::from(counts));
            if !counts || self.failed == rules.unhealthy_threshold {
                step.set(HealthFlags::FAILED_ACTIVE_HC);
                step.transition = Transition::Changed;
                step.events.push(Event::EjectUnhealthy { kind, status });
            } else {
                step.transition = Transition::ChangePending;
            }
        }
        let has_failed = step.flags.has(HealthFlags::FAILED_ACTIVE_HC);
        if kind == FailureKind::NetworkTimeout && has_failed {
            step.set(HealthFlags::ACTIVE_HC_TIMEOUT);
        } else {
            step.clear(HealthFlags::ACTIVE_HC_TIMEOUT);
        }
        step.end_pending();
        if self.is_first || rules.always_log_failures {
            let is_first = self.is_first;
            step.events.push(Event::Failure {
                kind,
                is_first,
                status,
            });
        }
    }
}

// === impl Step ===

impl Step {
    fn set(&mut self, flag: HealthFlags) {
        self.flags = self.flags.with(flag);
    }

    fn clear(&mut self, flag: HealthFlags) {
        self.flags = self.flags.without(flag);
    }

    /// The host was not counted before its first check, and is now.
    fn end_pending(&mut self) {
        if self.flags.has(HealthFlags::PENDING_ACTIVE_HC) {
            self.clear(HealthFlags::PENDING_ACTIVE_HC);
            self.transition = Transition::Changed;
        }
    }
}

// === impl Failure ===

impl Failure {
    pub(super) fn of(kind: FailureKind) -> Self {
        Self {
            kind,
            is_retriable: false,
            excludes: false,
            status: 0,
        }
    }
}

// === impl Intervals ===

/// Envoy never waits for less.
const SHORTEST: Duration = Duration::from_millis(1);

impl Intervals {
    /// How long after a check the next one is. `has_traffic`: a connection was ever made to the
    /// cluster. `random`: a number for each jitter.
    pub(super) fn after(
        &self,
        verdict: Verdict,
        transition: Transition,
        has_traffic: bool,
        random: [u64; 2],
    ) -> Duration {
        let is_healthy = matches!(verdict, Verdict::Success { .. });
        let is_edge = transition == Transition::ChangePending;
        let base = match (has_traffic, is_healthy, is_edge) {
            (true, true, false) => self.interval,
            (true, true, true) => self.healthy_edge,
            (true, false, false) => self.unhealthy,
            (true, false, true) => self.unhealthy_edge,
            (false, true, false) => self.no_traffic_healthy,
            (false, _, _) => self.no_traffic,
        };
        self.with_jitter(base, self.jitter, random)
    }

    /// How long the first check waits; none: not at all.
    pub(super) fn before_first(&self, random: [u64; 2]) -> Option<Duration> {
        let jitter = self.initial_jitter;
        (!jitter.is_zero()).then(|| self.with_jitter(Duration::ZERO, jitter, random))
    }

    fn with_jitter(&self, base: Duration, jitter: Duration, random: [u64; 2]) -> Duration {
        let base = millis(base);
        let percent = u64::from(self.jitter_percent).saturating_mul(base) / 100;
        let [of_percent, of_time] = random;
        let part = |most: u64, random: u64| random.checked_rem(most).unwrap_or(0);
        let wait = base
            .saturating_add(part(percent, of_percent))
            .saturating_add(part(millis(jitter), of_time));
        Duration::from_millis(wait).max(SHORTEST)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
