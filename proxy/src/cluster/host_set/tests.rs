use std::sync::Arc;

use serde_json::Map;

use super::{super::fixture, *};
use crate::config::{
    cluster::Panic,
    endpoint::{Endpoint, HealthStatus, LocalityEndpoints},
};

/// Port, weight, health and priority of an endpoint.
type Said = (u16, u32, HealthStatus, u32);

fn assignment(endpoints: &[Said]) -> LoadAssignment {
    let locality = |&(port, weight, health, priority): &Said| {
        let endpoint = Endpoint {
            health,
            weight,
            ..Endpoint::at(([10, 0, 0, 1], port).into())
        };
        LocalityEndpoints {
            priority,
            endpoints: vec![endpoint],
            ..Default::default()
        }
    };
    LoadAssignment {
        cluster_name: "c".to_owned(),
        localities: endpoints.iter().map(locality).collect(),
        policy: Policy::default(),
    }
}

/// The set after an update of a cluster of which discovery alone says something.
fn updated(before: &HostSet, endpoints: &LoadAssignment, grouping: Grouping) -> HostSet {
    before.update(endpoints, grouping, &fixture::health("lb_policy: RANDOM"))
}

fn set_of(endpoints: &LoadAssignment) -> HostSet {
    updated(&HostSet::default(), endpoints, Grouping::default())
}

fn set(endpoints: &[Said]) -> HostSet {
    set_of(&assignment(endpoints))
}

/// Each choice: its share of picks, whether it is in panic, and the ports of its hosts.
fn shares(set: &HostSet) -> Vec<(u64, bool, Vec<u16>)> {
    let mut before = 0;
    let share = |choice: &Choice| {
        let share = choice.below - before;
        before = choice.below;
        let hosts = choice.schedule.iter();
        let ports = hosts.map(|host| host.address.port()).collect();
        (share, choice.in_panic, ports)
    };
    set.choices.iter().map(share).collect()
}

/// The ports of the only choice.
fn ports(endpoints: &[Said]) -> Vec<u16> {
    let shares = shares(&set(endpoints));
    let [(100, _, ports)] = shares.as_slice() else {
        panic!("{shares:?}");
    };
    ports.clone()
}

#[test]
fn weights_become_shares_that_are_spread_out() {
    use HealthStatus::Healthy;
    assert_eq!(ports(&[(1, 1, Healthy, 0), (2, 1, Healthy, 0)]), [1, 2]);
    assert_eq!(
        ports(&[(1, 300, Healthy, 0), (2, 100, Healthy, 0)]),
        [1, 1, 2, 1]
    );
    let huge = ports(&[(1, u32::MAX, Healthy, 0), (2, 1, Healthy, 0)]);
    assert!(huge.len() <= 1026 && huge.contains(&2));
}

#[test]
fn unhealthy_hosts_get_traffic_only_in_panic() {
    use HealthStatus::{Draining, Healthy, Unhealthy};
    assert_eq!(ports(&[(1, 1, Healthy, 0), (2, 1, Unhealthy, 0)]), [1]);
    let most = [
        (1, 1, Healthy, 0),
        (2, 1, Unhealthy, 0),
        (3, 1, Draining, 0),
        (4, 1, Unhealthy, 0),
    ];
    assert_eq!(ports(&most[..3]), [1]);
    assert_eq!(shares(&set(&most)), [(100, true, vec![1, 2, 3, 4])]);
    assert_eq!(ports(&[(1, 1, Draining, 0)]), [1]);
}

#[test]
fn degraded_hosts_take_what_healthy_ones_leave() {
    use HealthStatus::{Degraded, Healthy, Unhealthy};
    let half = [(1, 1, Healthy, 0), (2, 1, Degraded, 0)];
    let expected = [(70, false, vec![1]), (30, false, vec![2])];
    assert_eq!(shares(&set(&half)), expected);
    assert_eq!(ports(&[(1, 1, Degraded, 0), (2, 1, Unhealthy, 0)]), [1]);
    assert_eq!(ports(&[(1, 1, Degraded, 0), (2, 1, Healthy, 1)]), [2]);
}

#[test]
fn the_next_priority_takes_what_the_first_cannot() {
    use HealthStatus::{Healthy, Unhealthy};
    assert_eq!(ports(&[(1, 1, Healthy, 0), (2, 1, Healthy, 1)]), [1]);
    let half = set(&[(1, 1, Healthy, 0), (2, 1, Unhealthy, 0), (3, 1, Healthy, 1)]);
    let expected = [(70, false, vec![1]), (30, false, vec![3])];
    assert_eq!(shares(&half), expected);
    let priorities = half.choices.iter().map(|choice| choice.priority);
    assert_eq!(priorities.collect::<Vec<_>>(), [0, 1]);
    let chosen = |point| half.choose(|| point).map(|choice| choice.priority);
    assert_eq!(
        [chosen(69), chosen(70), chosen(199)],
        [Some(0), Some(1), Some(1)]
    );
    // There is none of the highest.
    let only = set(&[(2, 1, Healthy, 1)]);
    assert_eq!(only.choices[0].priority, 1);
    assert!(set(&[]).choose(|| 0).is_none());
}

#[test]
fn by_weight_a_heavy_host_counts_for_more() {
    use HealthStatus::{Healthy, Unhealthy};
    let mut endpoints = assignment(&[(1, 9, Healthy, 0), (2, 1, Unhealthy, 0), (3, 1, Healthy, 1)]);
    let first = |endpoints: &LoadAssignment| shares(&set_of(endpoints))[0].0;
    assert_eq!(first(&endpoints), 70);
    endpoints.policy.weighted_priority_health = true;
    assert_eq!(first(&endpoints), 100);
}

#[test]
fn traffic_may_fail_in_panic_rather_than_go_anywhere() {
    let endpoints = assignment(&[(1, 1, HealthStatus::Unhealthy, 0)]);
    let with = |threshold, fails_traffic| {
        let panic = Panic {
            threshold,
            fails_traffic,
        };
        let grouping = Grouping { ring: None, panic };
        shares(&updated(&HostSet::default(), &endpoints, grouping))
    };
    assert_eq!(with(50, true), [(100, true, vec![])]);
    assert_eq!(with(50, false), [(100, true, vec![1])]);
    assert_eq!(with(0, false), [(100, false, vec![])]);
}

#[test]
fn a_host_of_another_transport_socket_is_another_host() {
    let mut endpoints = assignment(&[(1, 1, HealthStatus::Healthy, 0)]);
    let set = set_of(&endpoints);
    set.all[0].add_active(3);
    let said = Map::from_iter([("tlsMode".to_owned(), "istio".into())]);
    endpoints.localities[0].endpoints[0].transport_socket_match = Some(Arc::new(said));
    let other = updated(&set, &endpoints, Grouping::default());
    assert_eq!(other.all[0].active(), 0);
    assert!(set.all[0].is_retired() && !other.all[0].is_retired());
    let same = updated(&other, &endpoints, Grouping::default());
    assert!(same.all[0].continues(&other.all[0]));
}

#[test]
fn a_host_that_stays_keeps_its_counts() {
    let set = set(&[(1, 1, HealthStatus::Healthy, 0)]);
    set.all[0].add_active(3);
    let more = [
        (2, 1, HealthStatus::Healthy, 0),
        (1, 5, HealthStatus::Healthy, 0),
    ];
    let set = updated(&set, &assignment(&more), Grouping::default());
    let active: Vec<u32> = set.all().map(|host| host.active()).collect();
    assert_eq!(active, [0, 3]);
}

#[test]
fn hosts_that_stay_start_anew_when_others_come_or_go_where_that_is_wanted() {
    use HealthStatus::{Degraded, Healthy};
    for closes in [true, false] {
        let fields =
            format!("common_lb_config: {{ close_connections_on_host_set_change: {closes} }}");
        let health = fixture::health(&fields);
        let update = |set: &HostSet, endpoints: &[Said]| {
            set.update(&assignment(endpoints), Grouping::default(), &health)
        };
        let one = update(&HostSet::default(), &[(1, 1, Healthy, 0)]);
        let worse = update(&one, &[(1, 1, Degraded, 0)]);
        assert!(worse.all[0].continues(&one.all[0]), "it is the same");
        let more = update(&worse, &[(1, 1, Healthy, 0), (2, 1, Healthy, 0)]);
        assert_eq!(more.all[0].continues(&worse.all[0]), !closes);
        assert_eq!(worse.all[0].is_retired(), closes);
    }
}
