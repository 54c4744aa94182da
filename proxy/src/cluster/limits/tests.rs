//! Bounds hold for all workers together, whoever asks, and little is refused below them.

use std::thread;

use proptest::prelude::*;

use super::*;
use crate::config::circuit_breakers::{RetryBudget, Thresholds};

fn shared(thresholds: Thresholds) -> Arc<SharedLimits> {
    Arc::new(SharedLimits::new(thresholds))
}

fn worker(shared: &Arc<SharedLimits>) -> WorkerLimits {
    WorkerLimits::new(shared, &Arc::default(), &Rc::default())
}

fn requests(max_requests: u32) -> Arc<SharedLimits> {
    shared(Thresholds {
        max_requests,
        ..Thresholds::default()
    })
}

/// What workers do one after the other: which, and whether it takes or gives back.
fn steps(workers: usize) -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..workers, prop::bool::weighted(0.6)), 0..2000)
}

proptest! {
    #[test]
    fn the_sum_over_workers_is_bounded_and_little_below_it_is_refused(
        max in 0_u32..600,
        steps in steps(3),
    ) {
        let shared = requests(max);
        let workers: Vec<_> = (0..3).map(|_| worker(&shared)).collect();
        let mut taken = [0_u32; 3];
        for (worker, takes) in steps {
            if takes {
                let in_flight: u32 = taken.iter().sum();
                let is_taken = workers[worker].take(Resource::Requests);
                taken[worker] += u32::from(is_taken);
                prop_assert!(in_flight + u32::from(is_taken) <= max);
                prop_assert!(is_taken || in_flight >= max - max / 16);
            } else if taken[worker] > 0 {
                workers[worker].give_back(Resource::Requests);
                taken[worker] -= 1;
            }
            prop_assert_eq!(shared.in_use(Resource::Requests), u64::from(taken.iter().sum::<u32>()));
        }
        for (worker, taken) in workers.iter().zip(taken) {
            (0..taken).for_each(|_| worker.give_back(Resource::Requests));
        }
        drop(workers);
        // All that was borrowed came back.
        let last = worker(&shared);
        let all = (0..max).all(|_| last.take(Resource::Requests));
        prop_assert!(all && !last.take(Resource::Requests));
    }
}

#[test]
fn the_sum_is_bounded_while_workers_run_at_once() {
    const MAX: u32 = 100;
    let (shared, in_flight) = (requests(MAX), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let worker = worker(&shared);
                for round in 0..20_000 {
                    let mine = (0..round % 60).filter(|_| {
                        let taken = worker.take(Resource::Requests);
                        let before = in_flight.fetch_add(taken.into(), Ordering::SeqCst);
                        assert!(before + u64::from(taken) <= MAX.into());
                        taken
                    });
                    for _ in 0..mine.count() {
                        in_flight.fetch_sub(1, Ordering::SeqCst);
                        worker.give_back(Resource::Requests);
                    }
                }
            });
        }
    });
    assert_eq!(shared.in_use(Resource::Requests), 0);
}

#[test]
fn a_budget_with_an_interval_goes_by_the_requests_that_began_within_it() {
    let shared = shared(Thresholds {
        retry_budget: Some(RetryBudget {
            budget_percent: 50.0,
            min_retry_concurrency: 0,
            interval: Some(std::time::Duration::from_secs(600)),
        }),
        ..Thresholds::default()
    });
    let [one, other] = [(); 2].map(|()| Rc::new(worker(&shared)));
    assert!(!one.take(Resource::Retries), "nothing has begun");
    // They have ended, and count.
    let begin = |worker: &Rc<WorkerLimits>| drop(worker.leave::<{ Resource::Requests as usize }>());
    (0..2).for_each(|_| begin(&one));
    (0..2).for_each(|_| begin(&other));
    assert!(one.take(Resource::Retries) && other.take(Resource::Retries));
    assert!(!one.take(Resource::Retries), "4 requests allow two");
}

#[test]
fn a_budget_allows_a_share_of_the_requests_there_are() {
    let shared = shared(Thresholds {
        retry_budget: Some(RetryBudget {
            budget_percent: 25.0,
            min_retry_concurrency: 1,
            interval: None,
        }),
        max_retries: 0,
        ..Thresholds::default()
    });
    let [one, other] = [(); 2].map(|()| worker(&shared));
    assert!(one.take(Resource::Retries), "the least there may be");
    assert!(!other.take(Resource::Retries));
    (0..7).for_each(|_| assert!(one.take(Resource::Requests)));
    assert!(!other.take(Resource::Retries), "7 requests allow one");
    assert!(other.take(Resource::PendingRequests));
    assert!(other.take(Resource::Retries), "8 allow two");
    assert!(!one.take(Resource::Retries));
    other.give_back(Resource::Retries);
    assert!(one.take(Resource::Retries));
}

#[test]
fn connections_to_one_host_are_bounded_beside_those_of_others() {
    let shared = shared(Thresholds::default());
    let [one, other] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let connect = |host| shared.connect_to(host, 2, false);
    let first = connect(one).expect("the first");
    let _second = connect(one).expect("the second");
    assert!(connect(one).is_none());
    assert!(connect(other).is_some());
    first.fetch_sub(1, Ordering::AcqRel);
    assert!(connect(one).is_some());
    assert!(shared.connect_to(one, 2, true).is_some(), "it is needed");
}

#[test]
fn what_is_needed_in_any_case_goes_beyond_the_bound_and_counts() {
    let shared = requests(1);
    let worker = Rc::new(worker(&shared));
    let leave: RequestLeave = worker.leave_in_any_case();
    let beyond: RequestLeave = worker.leave_in_any_case();
    assert_eq!(shared.in_use(Resource::Requests), 2);
    drop(leave);
    assert!(!worker.take(Resource::Requests), "one is still there");
    drop(beyond);
    assert!(worker.take(Resource::Requests));
}
