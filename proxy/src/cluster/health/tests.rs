use std::collections::BTreeSet;

use super::{
    super::{
        Cluster, LoadBalancerContext, Outcome, Parts, Tried, balancer::Balancer, fixture,
        limits::Limits, transport_socket::UpstreamSockets,
    },
    *,
};
use crate::{
    config::{
        cluster::ClusterDiscovery,
        endpoint::{Endpoint, HealthStatus, LocalityEndpoints},
    },
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
        let (registry, singletons) = Default::default();
        let parts = Parts {
            forward_proxy: None,
            sockets,
            limits: Limits::new(&config, &stats, &registry, &singletons),
            balancer: Balancer::default(),
        };
        Cluster::with_parts(&config, stats, (Some(&endpoints), health), parts)
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

const CHECKS: &str = "health_checks: [{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} }]";

/// A cluster whose hosts come from discovery, and are checked.
fn discovered(fields: &str) -> Arc<config::Cluster> {
    let mut config = fixture::config(&[CHECKS, fields].join(""));
    let own = Arc::get_mut(&mut config).expect("nobody else has it");
    own.discovery = ClusterDiscovery::Eds("c".to_owned());
    config
}

fn checked(fields: &str) -> Arc<ClusterHealth> {
    Healths::new(&Arc::default()).get(&discovered(fields), &Snapshot::default())
}

/// Where hosts are checked: what a check that succeeds, or fails, leaves.
fn check(health: &ClusterHealth, port: u16, succeeds: bool) {
    let targets = health.check_targets();
    let target = targets.iter().find(|target| target.host == address(port));
    let target = target.expect("a host that is checked");
    let before = target.health.flags();
    let failed = HealthFlags::FAILED_ACTIVE_HC;
    let now = before.without(HealthFlags::PENDING_ACTIVE_HC);
    let now = match succeeds {
        true => now.without(failed),
        false => now.with(failed),
    };
    health.checked(target, before, now);
    health.settle_checks();
}

fn ports(health: &ClusterHealth) -> BTreeSet<u16> {
    let all = health.checked_endpoints().expect("endpoints");
    all.endpoints().map(|one| one.address.port()).collect()
}

fn flags(health: &ClusterHealth, port: u16) -> String {
    let host = health.host(address(port)).expect("a host");
    host.flags().to_string()
}

#[test]
fn a_host_is_new_again_once_its_checks_succeed_again() {
    let health = checked("");
    health.assign(1, &assignment(&[&[1]]));
    let host = health.host(address(1)).expect("a host");
    for (succeeds, recoveries) in [
        (true, 0),
        (true, 0),
        (false, 0),
        (false, 0),
        (true, 1),
        (true, 1),
    ] {
        check(&health, 1, succeeds);
        assert_eq!(host.recoveries(), recoveries);
    }
}

#[test]
fn hosts_that_discovery_takes_away_stay_while_their_checks_succeed() {
    let health = checked("");
    health.assign(1, &assignment(&[&[1, 2], &[3]]));
    assert_eq!(membership(&health), (3, 0, 2));
    [1, 3]
        .into_iter()
        .for_each(|port| check(&health, port, true));
    assert_eq!(membership(&health), (3, 2, 2));
    // The one that was never healthy goes at once; those of a priority that is gone stay, too.
    health.assign(2, &assignment(&[&[4]]));
    assert_eq!(ports(&health), BTreeSet::from([1, 3, 4]));
    assert_eq!(flags(&health, 1), "/pending_dynamic_removal");
    let all = health.checked_endpoints().expect("endpoints");
    let of = |port| {
        let has = |one: &&LocalityEndpoints| one.endpoints.contains(&endpoint(port).into());
        all.localities
            .iter()
            .find(has)
            .expect("a locality")
            .priority
    };
    assert_eq!((of(1), of(3)), (0, 1));
    // One comes back, the other fails.
    health.assign(3, &assignment(&[&[1, 4]]));
    assert_eq!(flags(&health, 1), "healthy");
    check(&health, 3, false);
    assert_eq!(ports(&health), BTreeSet::from([1, 4]));
    assert!(health.host(address(3)).is_none());
}

#[test]
fn hosts_that_discovery_takes_away_go_at_once_where_that_is_wanted() {
    let health = checked(", ignore_health_on_host_removal: true");
    health.assign(1, &assignment(&[&[1, 2]]));
    [1, 2]
        .into_iter()
        .for_each(|port| check(&health, port, true));
    health.assign(2, &assignment(&[&[2]]));
    assert_eq!(ports(&health), BTreeSet::from([2]));
}

#[test]
fn workers_use_hosts_that_stay_and_none_that_leave() {
    let config = discovered("");
    let registry = Arc::new(Registry::default());
    let healths = Healths::new(&registry);
    let health = healths.get(&config, &Snapshot::default());
    let before = assignment(&[&[1]]);
    health.assign(1, &before);
    check(&health, 1, true);
    let secrets = Secrets::default();
    let sockets = UpstreamSockets::new(&config, &registry, &Singletons::default(), &secrets);
    let of_worker = (Some(&before), Arc::clone(&health));
    let stats = Arc::default();
    let parts = Parts {
        forward_proxy: None,
        sockets,
        limits: Limits::new(&config, &stats, &registry, &Singletons::default()),
        balancer: Balancer::default(),
    };
    let cluster = Cluster::with_parts(&config, stats, of_worker, parts);
    let now = assignment(&[&[2]]);
    health.assign(2, &now);
    cluster.set_endpoints(&now);
    let picked = || {
        let tried = Tried::default();
        let host = cluster.pick(&LoadBalancerContext::new(address(9), &tried));
        host.map(|host| host.address.port())
    };
    // The new one was not checked yet.
    assert!((0..9).all(|_| picked() == Some(1)));
    check(&health, 2, true);
    check(&health, 1, false);
    assert!((0..9).all(|_| picked() == Some(2)));
}

#[test]
fn hosts_need_not_count_before_their_first_check() {
    for (ignored, total) in [
        (true, "/failed_active_hc/pending_active_hc"),
        (false, "/failed_active_hc"),
    ] {
        let fields =
            format!(", common_lb_config: {{ ignore_new_hosts_until_first_hc: {ignored} }}");
        let health = checked(&fields);
        health.assign(1, &assignment(&[&[1]]));
        assert_eq!(flags(&health, 1), total);
        let excluded = || health.stats.membership.membership_excluded.get();
        assert_eq!(excluded(), i64::from(ignored));
        assert!(!health.is_warm());
        check(&health, 1, false);
        assert_eq!(
            (excluded(), flags(&health, 1).as_str()),
            (0, "/failed_active_hc")
        );
        assert!(health.is_warm());
    }
}

#[test]
fn what_warms_takes_over_when_it_is_in_force() {
    let healths = Healths::new(&Arc::default());
    let (old, new) = (discovered(""), discovered(""));
    let old = healths.get(&old, &Snapshot::default());
    old.assign(1, &assignment(&[&[1, 2, 3]]));
    let snapshot = Snapshot {
        generation: 2,
        ..Snapshot::default()
    };
    let warming = healths.warming(&new, &snapshot);
    warming.assign(2, &assignment(&[&[1]]));
    check(&warming, 1, true);
    assert!(healths.is_warm(&new));
    assert_eq!(membership(&old), (3, 0, 1), "the old one counts");
    let in_force = healths.get(&new, &snapshot);
    assert!(Arc::ptr_eq(&in_force, &warming));
    assert_eq!(membership(&warming), (1, 1, 1));
    check(&old, 2, true);
    assert_eq!(membership(&warming), (1, 1, 1), "the old one is late");
}
