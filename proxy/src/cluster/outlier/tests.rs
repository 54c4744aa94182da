//! A cluster in simulated time.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::health::{HealthFlags, HostHealth},
    *,
};
use crate::{
    config::outlier_detection::OutlierDetection,
    stats::{Registry, Scope, Within},
};

const BASE: Duration = Duration::from_secs(30);

/// A cluster, its hosts, and a clock that only the test moves.
struct Model {
    settings: OutlierDetection,
    hosts: Vec<Arc<HostHealth>>,
    detector: Detector,
    stats: Arc<Within<OutlierStats>>,
    now: Instant,
}

impl Model {
    /// Settings that eject whatever is found, but for what `change` says.
    fn new(hosts: u16, change: impl FnOnce(&mut OutlierDetection)) -> Self {
        let mut settings = OutlierDetection {
            max_ejection_percent: 100,
            ..OutlierDetection::default()
        };
        change(&mut settings);
        let stats = Registry::default().register_within(
            Scope::cluster("c"),
            "outlier_detection.",
            OutlierStats::default(),
        );
        let mut model = Self {
            detector: Detector::new(&settings, &stats),
            settings,
            hosts: (0..hosts).map(|_| Arc::default()).collect(),
            stats,
            now: Instant::now(),
        };
        model.set_hosts(usize::from(hosts));
        model
    }

    /// The first so many are the hosts of the cluster.
    fn set_hosts(&mut self, count: usize) {
        let hosts = self.hosts.iter().take(count).enumerate();
        let states: HashMap<_, _> = hosts
            .map(|(n, host)| (address(n), Arc::clone(host)))
            .collect();
        self.detector.set_hosts(&states);
    }

    fn report(&mut self, host: usize, times: usize, outcome: Outcome) {
        for _ in 0..times {
            let mut suspected = Vec::new();
            let monitor = &self.hosts[host].monitor;
            monitor.note(&self.settings, outcome, |kind| suspected.push(kind));
            for kind in suspected {
                self.detector.suspect(address(host), kind, self.now);
            }
        }
    }

    /// Lets time pass, a sweep at the end of each interval.
    fn pass(&mut self, intervals: u32) {
        for _ in 0..intervals {
            self.now += self.settings.interval;
            self.detector.sweep(self.now);
        }
    }

    fn ejected(&self) -> Vec<usize> {
        let flag = HealthFlags::FAILED_OUTLIER_CHECK;
        let hosts = self.hosts.iter().enumerate();
        hosts
            .filter(|(_, host)| host.flags().has(flag))
            .map(|(n, _)| n)
            .collect()
    }
}

fn address(host: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], u16::try_from(host).expect("few") + 1))
}

#[test]
fn errors_in_a_row_eject_a_host_and_a_success_between_starts_anew() {
    let mut model = Model::new(3, |_| {});
    model.report(0, 4, Outcome::Answered(500));
    model.report(0, 1, Outcome::Answered(404));
    model.report(0, 4, Outcome::Failed);
    assert!(model.ejected().is_empty());
    model.report(0, 1, Outcome::TimedOut);
    assert_eq!(model.ejected(), [0]);
    // What is sent to it in panic ejects it no second time.
    model.report(0, 20, Outcome::Answered(500));
    assert_eq!(model.stats.ejections_enforced_consecutive_5xx.get(), 1);
    assert_eq!(model.stats.ejections_active.get(), 1);
    assert_eq!(model.stats.ejections_total.get(), 1);
}

#[test]
fn gateway_failures_are_told_apart_and_by_default_not_enforced() {
    let mut model = Model::new(3, |settings| {
        settings.consecutive_gateway_failure.threshold = 2;
        settings.consecutive_5xx.threshold = 3;
    });
    model.report(0, 1, Outcome::Answered(503));
    model.report(0, 1, Outcome::Answered(500));
    assert_eq!(
        model
            .stats
            .ejections_detected_consecutive_gateway_failure
            .get(),
        0
    );
    model.report(0, 1, Outcome::Answered(502));
    assert_eq!(model.ejected(), [0]);
    model.report(1, 2, Outcome::Answered(504));
    assert_eq!(
        model
            .stats
            .ejections_detected_consecutive_gateway_failure
            .get(),
        1
    );
    assert_eq!(
        model
            .stats
            .ejections_enforced_consecutive_gateway_failure
            .get(),
        0
    );
    assert_eq!(model.ejected(), [0]);
    model.settings.consecutive_gateway_failure.enforcing = 100;
    let mut enforced = Model::new(3, |settings| *settings = model.settings);
    enforced.report(1, 2, Outcome::Answered(504));
    assert_eq!(enforced.ejected(), [1]);
}

#[test]
fn with_the_split_failures_to_reach_a_host_count_by_themselves() {
    let split = |settings: &mut OutlierDetection| {
        settings.split_external_local_origin_errors = true;
        settings.consecutive_local_origin_failure.threshold = 3;
    };
    let mut model = Model::new(3, split);
    model.report(0, 2, Outcome::Failed);
    model.report(0, 1, Outcome::Connected);
    model.report(0, 2, Outcome::TimedOut);
    // An answer says nothing of connections.
    model.report(0, 1, Outcome::Answered(500));
    assert!(model.ejected().is_empty());
    model.report(0, 1, Outcome::Failed);
    assert_eq!(model.ejected(), [0]);
    assert_eq!(
        model
            .stats
            .ejections_enforced_consecutive_local_origin_failure
            .get(),
        1
    );
    model.report(1, 2, Outcome::Failed);
    model.report(1, 1, Outcome::ConnectedForGood);
    model.report(1, 2, Outcome::Failed);
    assert_eq!(model.ejected(), [0]);
}

#[test]
fn each_ejection_in_a_row_is_longer_until_the_longest() {
    let mut model = Model::new(2, |settings| settings.max_ejection_time = 3 * BASE);
    let mut times = Vec::new();
    for _ in 0..5 {
        model.report(0, 5, Outcome::Answered(500));
        let since = model.now;
        while !model.ejected().is_empty() {
            model.pass(1);
        }
        times.push((model.now - since).as_secs());
    }
    assert_eq!(times, [30, 60, 90, 90, 90]);
    // Intervals without an ejection shorten the next one.
    model.pass(3);
    model.report(0, 5, Outcome::Answered(500));
    let since = model.now;
    while !model.ejected().is_empty() {
        model.pass(1);
    }
    assert_eq!((model.now - since).as_secs(), 60);
}

#[test]
fn jitter_lengthens_an_ejection_by_no_more_than_it_may() {
    let mut lengths = Vec::new();
    for _ in 0..20 {
        let mut model = Model::new(2, |settings| {
            settings.interval = Duration::from_secs(1);
            settings.max_ejection_time_jitter = Duration::from_secs(10);
        });
        model.report(0, 5, Outcome::Answered(500));
        let since = model.now;
        while !model.ejected().is_empty() {
            model.pass(1);
        }
        lengths.push((model.now - since).as_secs());
    }
    assert!(
        lengths.iter().all(|length| (30..=41).contains(length)),
        "{lengths:?}"
    );
    lengths.dedup();
    assert!(lengths.len() > 1, "{lengths:?}");
}

#[test]
fn no_more_hosts_are_ejected_than_may_be() {
    let mut model = Model::new(10, |settings| settings.max_ejection_percent = 20);
    for host in 0..4 {
        model.report(host, 5, Outcome::Answered(500));
    }
    assert_eq!(model.ejected(), [0, 1]);
    assert_eq!(model.stats.ejections_overflow.get(), 2);
    assert_eq!(model.stats.ejections_detected_consecutive_5xx.get(), 4);
    for always in [false, true] {
        let mut model = Model::new(5, |settings| {
            settings.max_ejection_percent = 10;
            settings.always_eject_one_host = always;
        });
        model.report(0, 5, Outcome::Answered(500));
        model.report(1, 5, Outcome::Answered(500));
        assert_eq!(model.ejected().len(), usize::from(always));
    }
}

/// Each host answers a hundred times in an interval, so often with an error.
fn errors(model: &mut Model, errors: &[usize]) {
    for (host, errors) in errors.iter().enumerate() {
        for n in 0..100 {
            // Spread, so that no row is long enough.
            let fails = n * errors / 100 != (n + 1) * errors / 100;
            let status = if fails { 500 } else { 200 };
            model.report(host, 1, Outcome::Answered(status));
        }
    }
}

#[test]
fn a_host_whose_success_rate_is_far_below_the_others_is_ejected() {
    let only_rates = |settings: &mut OutlierDetection| settings.consecutive_5xx.threshold = 0;
    let mut model = Model::new(5, only_rates);
    errors(&mut model, &[0, 0, 0, 0, 50]);
    model.pass(1);
    assert_eq!(model.ejected(), [4]);
    let rate = model.detector.rates().0[0].expect("a rate");
    // Of rates 100, 100, 100, 100 and 50: the mean is 90, the deviation 20.
    assert_eq!(
        (rate.average, rate.ejection_threshold),
        (90.0, 90.0 - 1.9 * 20.0)
    );
    assert_eq!(model.detector.success_rates(address(4)), [Some(50.0), None]);
    assert_eq!(model.stats.ejections_enforced_success_rate.get(), 1);
    model.pass(1);
    assert!(
        model.detector.rates().0[0].is_none(),
        "nothing was sent since"
    );

    // Four hosts are too few, and so are 99 requests.
    let mut few = Model::new(4, only_rates);
    errors(&mut few, &[0, 0, 0, 50]);
    few.pass(1);
    assert!(few.ejected().is_empty());
    let mut quiet = Model::new(5, |settings| {
        only_rates(settings);
        settings.success_rate.volume.request_volume = 101;
    });
    errors(&mut quiet, &[0, 0, 0, 0, 50]);
    quiet.pass(1);
    assert!(quiet.ejected().is_empty());
}

#[test]
fn a_host_that_fails_too_often_is_ejected_where_that_is_enforced() {
    for enforcing in [0, 100] {
        let mut model = Model::new(5, |settings| {
            settings.consecutive_5xx.threshold = 0;
            settings.success_rate.volume.enforcing = 0;
            settings.failure_percentage.volume.enforcing = enforcing;
        });
        errors(&mut model, &[0, 84, 85, 100, 0]);
        model.pass(1);
        let expected: &[usize] = if enforcing == 100 { &[2, 3] } else { &[] };
        assert_eq!(model.ejected(), expected);
        assert_eq!(model.stats.ejections_detected_failure_percentage.get(), 2);
    }
}

#[test]
fn local_failures_have_rates_of_their_own() {
    let mut model = Model::new(5, |settings| {
        settings.split_external_local_origin_errors = true;
        settings.consecutive_local_origin_failure.threshold = 0;
        settings.failure_percentage.volume.enforcing_local_origin = 100;
        settings.success_rate.volume.enforcing_local_origin = 0;
    });
    for host in 0..5 {
        let outcome = [Outcome::Connected, Outcome::Failed][usize::from(host == 3)];
        model.report(host, 100, outcome);
    }
    model.pass(1);
    assert_eq!(model.ejected(), [3]);
    assert_eq!(
        model
            .stats
            .ejections_enforced_local_origin_failure_percentage
            .get(),
        1
    );
    assert_eq!(
        model
            .stats
            .ejections_detected_local_origin_success_rate
            .get(),
        1
    );
}

#[test]
fn a_host_that_goes_is_no_longer_ejected() {
    let mut model = Model::new(3, |_| {});
    model.report(2, 5, Outcome::Answered(500));
    assert_eq!(model.stats.ejections_active.get(), 1);
    model.set_hosts(2);
    assert_eq!(model.stats.ejections_active.get(), 0);
    model.report(2, 5, Outcome::Answered(500));
    assert_eq!(model.stats.ejections_detected_consecutive_5xx.get(), 1);
}
