use std::collections::BTreeSet;

use super::{
    super::{
        Cluster, LoadBalancerContext, Outcome, Tried, balancer::Balancer, fixture,
        transport_socket::UpstreamSockets,
    },
    *,
};
use crate::{
    config::endpoint::{Endpoint, HealthStatus, LocalityEndpoints},
    secrets::Secrets,
    singletons::Singletons,
    snapshot::Snapshot,
    stats::Registry,
};

const OUTLIERS: &str = "outlier_detection: { consecutive_5xx: 1, max_ejection_percent: 100 }";

/// Ports of endpoints, by priority.
fn assignment(priorities: &[&[u16]]) -> Arc<LoadAssignment> {
    let localities = (0..)
        .zip(priorities)
        .map(|(priority, ports)| LocalityEndpoints {
            priority,
            endpoints: ports.iter().copied().map(endpoint).map(Arc::new).collect(),
            ..LocalityEndpoints::default()
        });
    Arc::new(LoadAssignment {
        localities: localities.collect(),
        ..LoadAssignment::default()
    })
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint::at(address(port))
}

fn address(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

/// Total, healthy and changes.
fn membership(health: &ClusterHealth) -> (i64, i64, u64) {
    let stats = &health.stats.membership;
    (
        stats.membership_total.get(),
        stats.membership_healthy.get(),
        stats.membership_change.get(),
    )
}

#[test]
fn members_are_counted_once_however_many_workers_say_it() {
    let health = fixture::health("lb_policy: RANDOM");
    let three = assignment(&[&[1, 2], &[3]]);
    (0..3).for_each(|_| health.assign(1, &three));
    assert_eq!(membership(&health), (3, 3, 2));
    let mut degraded = LoadAssignment::clone(&three);
    let endpoints = &mut degraded.localities[0].endpoints;
    Arc::make_mut(&mut endpoints[0]).health = HealthStatus::Degraded;
    Arc::make_mut(&mut endpoints[1]).health = HealthStatus::Draining;
    health.assign(2, &Arc::new(degraded));
    assert_eq!(membership(&health), (3, 1, 2));
    let stats = &health.stats.membership;
    assert_eq!(stats.membership_degraded.get(), 1);
    assert_eq!(stats.membership_excluded.get(), 1);
    health.assign(3, &assignment(&[&[1, 2], &[4]]));
    assert_eq!(membership(&health), (3, 3, 3));
    // A worker that is late brings nothing back.
    health.assign(2, &three);
    assert_eq!(membership(&health), (3, 3, 3));
}

#[test]
fn what_is_learnt_of_a_host_stays_with_it_while_it_stays() {
    let health = fixture::health(OUTLIERS);
    health.assign(1, &assignment(&[&[1, 2, 3]]));
    let version = health.version();
    health.sweep();
    assert_eq!(health.version(), version, "nobody has to look again");
    health.suspect(address(1), Consecutive::Error);
    assert_ne!(health.version(), version);
    assert_eq!(membership(&health), (3, 2, 1));
    let is_ejected = |port| {
        let host = health.host(address(port)).expect("a host");
        host.flags().has(HealthFlags::FAILED_OUTLIER_CHECK)
    };
    health.assign(2, &assignment(&[&[1, 4]]));
    assert!(is_ejected(1) && !is_ejected(4));
    health.assign(3, &assignment(&[&[4]]));
    health.assign(4, &assignment(&[&[1, 4]]));
    assert!(!is_ejected(1), "it has come anew");
}

#[test]
fn nothing_is_learnt_of_hosts_where_nothing_is_asked() {
    let health = fixture::health("lb_policy: RANDOM");
    health.assign(1, &assignment(&[&[1]]));
    assert!(health.host(address(1)).is_none());
    assert!(health.lock().states.is_empty());
}

#[test]
fn of_two_configurations_the_newer_one_counts_whoever_comes_late() {
    let healths = Healths::new(&Arc::default());
    let (old, new) = (fixture::config(OUTLIERS), fixture::config(OUTLIERS));
    let at = |generation| Snapshot {
        generation,
        ..Snapshot::default()
    };
    let of_new = healths.get(&new, &at(2));
    of_new.assign(2, &assignment(&[&[1, 2]]));
    // A worker that still has the older snapshot.
    let of_old = healths.get(&old, &at(1));
    of_old.assign(1, &assignment(&[&[1]]));
    assert_eq!(membership(&of_new).0, 2);
    assert!(Arc::ptr_eq(&of_new, &healths.get(&new, &at(3))));
    assert!(Arc::ptr_eq(
        &of_new.stats.membership,
        &of_old.stats.membership
    ));
    let newest = healths.get(&fixture::config(OUTLIERS), &at(3));
    of_new.suspect(address(1), Consecutive::Error);
    newest.assign(3, &assignment(&[&[1, 2, 3]]));
    assert_eq!(membership(&newest).1, 3);
}

#[test]
fn flags_say_what_a_host_gets_and_read_as_envoys_do() {
    let ejected = HealthFlags::FAILED_OUTLIER_CHECK;
    for (said, learnt, health, text) in [
        (HealthStatus::Healthy, None, Health::Healthy, "healthy"),
        (
            HealthStatus::Degraded,
            None,
            Health::Degraded,
            "/degraded_eds_health",
        ),
        (
            HealthStatus::Draining,
            None,
            Health::Unhealthy,
            "/eds_status_draining",
        ),
        (
            HealthStatus::Healthy,
            Some(ejected),
            Health::Unhealthy,
            "/failed_outlier_check",
        ),
        (
            HealthStatus::Unhealthy,
            Some(ejected),
            Health::Unhealthy,
            "/failed_outlier_check/failed_eds_health",
        ),
    ] {
        let flags = HealthFlags::of(said).and(learnt);
        assert_eq!((flags.health(), flags.to_string().as_str()), (health, text));
    }
}

#[test]
fn what_one_worker_learns_all_workers_heed() {
    let healths = Healths::new(&Arc::default());
    let config = fixture::config(OUTLIERS);
    let (endpoints, snapshot) = (assignment(&[&[1, 2, 3]]), Snapshot::default());
    let worker = || {
        let health = healths.get(&config, &snapshot);
        health.assign(1, &endpoints);
        let sockets = UpstreamSockets::new(
            &config,
            &Registry::default(),
            &Singletons::default(),
            &Secrets::default(),
        );
        let stats = Arc::default();
        let endpoints = (Some(&endpoints), health);
        Cluster::with_sockets(&config, stats, endpoints, sockets, Balancer::default())
    };
    let (one, other) = (worker(), worker());
    other.set_endpoints(&endpoints);
    one.set_endpoints(&endpoints);
    let pick = |worker: &Cluster| {
        let host = worker.pick(&LoadBalancerContext::new(address(9), &Tried::default()));
        host.expect("a host")
    };
    let failing = pick(&one);
    one.report(&failing, Outcome::Answered(503));
    for worker in [&one, &other] {
        let picked = (0..30).map(|_| pick(worker).address);
        let picked: BTreeSet<SocketAddr> = picked.collect();
        assert_eq!(picked.len(), 2);
        assert!(!picked.contains(&failing.address));
    }
    assert_eq!(membership(&one.health), (3, 2, 1));
}
