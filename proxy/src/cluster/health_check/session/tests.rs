use proptest::prelude::*;

use super::*;
use crate::config::health_check::{Checker, TcpCheck};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rules(unhealthy_threshold: u32, healthy_threshold: u32) -> HealthCheck {
    HealthCheck {
        timeout: seconds(1),
        intervals: Intervals {
            interval: seconds(10),
            no_traffic: seconds(60),
            no_traffic_healthy: seconds(70),
            unhealthy: seconds(20),
            unhealthy_edge: seconds(30),
            healthy_edge: seconds(40),
            initial_jitter: Duration::ZERO,
            jitter: Duration::ZERO,
            jitter_percent: 0,
        },
        unhealthy_threshold,
        healthy_threshold,
        reuse_connection: true,
        event_logs: Vec::new(),
        always_log_failures: false,
        always_log_success: false,
        alpn_protocols: None,
        transport_socket_match: None,
        checker: Checker::Tcp(TcpCheck {
            send: Vec::new(),
            receive: Vec::new(),
        }),
    }
}

const OK: Verdict = Verdict::Success { is_degraded: false };
const DEGRADED: Verdict = Verdict::Success { is_degraded: true };

fn failing(kind: FailureKind, is_retriable: bool) -> Verdict {
    Verdict::Failure(Failure {
        is_retriable,
        ..Failure::of(kind)
    })
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(OK),
        1 => Just(DEGRADED),
        1 => Just(failing(FailureKind::Active, false)),
        2 => Just(failing(FailureKind::Active, true)),
        2 => Just(failing(FailureKind::Network, false)),
        2 => Just(failing(FailureKind::NetworkTimeout, false)),
    ]
}

/// Whether a host is healthy after these checks, looked at from their end.
fn is_healthy(all: &[Verdict], (unhealthy, healthy): (u32, u32)) -> bool {
    let Some((last, before)) = all.split_last() else {
        return false;
    };
    let was = is_healthy(before, (unhealthy, healthy));
    let is_success = |verdict: &Verdict| matches!(verdict, Verdict::Success { .. });
    let alike = |verdict: &&Verdict| is_success(verdict) == is_success(last);
    let in_a_row = all.iter().rev().take_while(alike).count() as u32;
    match last {
        Verdict::Success { .. } => was || before.is_empty() || in_a_row == healthy,
        Verdict::Failure(Failure {
            kind: FailureKind::Active,
            is_retriable: false,
            ..
        }) => false,
        Verdict::Failure(_) => was && in_a_row != unhealthy,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn health_follows_from_how_checks_ended_in_a_row(
        all in prop::collection::vec(verdicts(), 1..12),
        thresholds in (1_u32..4, 1_u32..4),
    ) {
        let rules = rules(thresholds.0, thresholds.1);
        let (mut session, mut flags) = (Session::new(), HealthFlags::FAILED_ACTIVE_HC);
        for (count, verdict) in all.iter().enumerate() {
            let step = session.step(&rules, flags, *verdict);
            let failed = step.flags.has(HealthFlags::FAILED_ACTIVE_HC);
            prop_assert_eq!(!failed, is_healthy(&all[..=count], thresholds), "{:?}", &all[..=count]);
            // A host that times out has failed, and whether it does is no change by itself.
            let timeout = HealthFlags::ACTIVE_HC_TIMEOUT;
            prop_assert!(failed || !step.flags.has(timeout));
            let is_changed = step.flags.without(timeout) != flags.without(timeout);
            let was_failed = flags.has(HealthFlags::FAILED_ACTIVE_HC);
            match step.transition {
                Transition::Changed => prop_assert!(is_changed),
                Transition::Unchanged => prop_assert!(!is_changed),
                // It may say that it is degraded meanwhile.
                Transition::ChangePending => prop_assert_eq!(failed, was_failed),
            }
            flags = step.flags;
        }
    }
}

#[test]
fn one_check_is_enough_at_first_and_answers_that_are_no_success_are_enough_ever() {
    let rules = rules(3, 3);
    let new = HealthFlags::FAILED_ACTIVE_HC.with(HealthFlags::PENDING_ACTIVE_HC);
    let mut session = Session::new();
    let step = session.step(&rules, new, OK);
    assert_eq!(step.flags, HealthFlags::default());
    assert_eq!(step.events, [Event::AddHealthy { is_first: true }]);
    let step = session.step(&rules, step.flags, failing(FailureKind::Active, false));
    assert_eq!(step.flags, HealthFlags::FAILED_ACTIVE_HC);
    assert_eq!(
        step.events,
        [Event::EjectUnhealthy {
            kind: FailureKind::Active,
            status: 0
        }]
    );
    // From now on it takes as many as are wanted.
    let pending = session.step(&rules, step.flags, OK).transition;
    assert_eq!(pending, Transition::ChangePending);
    let failed = Session::new().step(&rules, new, failing(FailureKind::NetworkTimeout, false));
    let flags = HealthFlags::FAILED_ACTIVE_HC.with(HealthFlags::ACTIVE_HC_TIMEOUT);
    assert_eq!(
        (failed.flags, failed.transition),
        (flags, Transition::Changed)
    );
}

#[test]
fn the_next_check_is_as_far_as_what_the_last_one_came_to_says() {
    let intervals = rules(1, 1).intervals;
    let (fails, pending) = (
        failing(FailureKind::Network, false),
        Transition::ChangePending,
    );
    for (verdict, transition, has_traffic, wait) in [
        (OK, Transition::Unchanged, true, 10),
        (OK, Transition::Changed, true, 10),
        (OK, pending, true, 40),
        (fails, Transition::Unchanged, true, 20),
        (fails, pending, true, 30),
        (OK, Transition::Changed, false, 70),
        (OK, pending, false, 60),
        (fails, Transition::Unchanged, false, 60),
    ] {
        let after = intervals.after(verdict, transition, has_traffic, [7, 7]);
        assert_eq!(
            after,
            seconds(wait),
            "{verdict:?} {transition:?} {has_traffic}"
        );
    }
}

proptest! {
    #[test]
    fn jitter_lengthens_an_interval_by_no_more_than_it_may(
        jitter in 0_u64..5000,
        jitter_percent in 0_u32..300,
        random: [u64; 2],
    ) {
        let intervals = Intervals {
            jitter: Duration::from_millis(jitter),
            initial_jitter: Duration::from_millis(jitter),
            jitter_percent,
            ..rules(1, 1).intervals
        };
        let wait = intervals.after(OK, Transition::Unchanged, true, random);
        let most = 10_000 + 10_000 * u64::from(jitter_percent) / 100 + jitter;
        prop_assert!(wait >= seconds(10) && wait <= Duration::from_millis(most));
        let first = intervals.before_first(random);
        prop_assert_eq!(first.is_some(), jitter > 0);
        prop_assert!(first.is_none_or(|wait| wait <= Duration::from_millis(jitter.max(1))));
    }
}
