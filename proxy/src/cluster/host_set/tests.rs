use std::sync::Arc;

use serde_json::Map;

use super::{super::fixture, *};
use crate::config::endpoint::{Endpoint, HealthStatus, LocalityEndpoints, Policy};

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
            endpoints: vec![endpoint.into()],
            ..Default::default()
        }
    };
    LoadAssignment {
        cluster_name: "c".to_owned(),
        localities: endpoints.iter().map(locality).collect(),
        policy: Policy::default(),
    }
}

/// A cluster with these fields.
fn updated(before: &HostSet, endpoints: &LoadAssignment, fields: &str) -> HostSet {
    let fields = if fields.is_empty() {
        "lb_policy: ROUND_ROBIN"
    } else {
        fields
    };
    let config = fixture::config(fields);
    let endpoints = Arc::new(endpoints.clone());
    let cluster = (&*config, &Balancer::default());
    before.update(&endpoints, cluster, &fixture::health("lb_policy: RANDOM"))
}

fn set_of(endpoints: &LoadAssignment) -> HostSet {
    updated(&HostSet::default(), endpoints, "")
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
        let hosts = choice.hosts.hosts().iter();
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
    // There is none of the highest.
    let only = set(&[(2, 1, Healthy, 1)]);
    assert_eq!(only.choices[0].priority, 1);
    assert!(set(&[]).choices.is_empty());
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
    let with = |threshold, fails: bool| {
        let fields = format!(
            "common_lb_config: {{ healthy_panic_threshold: {{ value: {threshold} }}, \
             zone_aware_lb_config: {{ fail_traffic_on_panic: {fails} }} }}"
        );
        shares(&updated(&HostSet::default(), &endpoints, &fields))
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
    let endpoint = &mut endpoints.localities[0].endpoints[0];
    Arc::make_mut(endpoint).transport_socket_match = Some(Arc::new(said));
    let other = updated(&set, &endpoints, "");
    assert_eq!(other.all[0].active(), 0);
    assert!(set.all[0].is_retired() && !other.all[0].is_retired());
    let same = updated(&other, &endpoints, "");
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
    let other = updated(&set, &assignment(&more), "");
    let active: Vec<u32> = other.all().map(|host| host.active()).collect();
    assert_eq!(active, [0, 3]);
    assert!(!other.all[1].is_retired());
}

#[test]
fn of_hosts_that_are_as_before_nothing_is_made_anew() {
    use HealthStatus::Healthy;
    let said: Vec<Said> = (1..=9).map(|port| (port, 1, Healthy, 0)).collect();
    let before = set(&said);
    for change in 0..9 {
        let mut now = said.clone();
        match change % 3 {
            0 => now[change].1 = 7,
            1 => drop(now.remove(change)),
            _ => now.insert(change, (99, 1, Healthy, 0)),
        }
        // Of each change a cluster of its own, for what is gone is retired.
        let before = set(&said);
        let after = updated(&before, &assignment(&now), "");
        let ports: Vec<u16> = after.all().map(|host| host.address.port()).collect();
        assert_eq!(ports, now.iter().map(|it| it.0).collect::<Vec<_>>());
        let same = |host: &&Rc<Host>| before.all.iter().any(|known| Rc::ptr_eq(known, host));
        // Localities that come after one that is new or gone are others.
        let expected = if change % 3 == 0 { 8 } else { change };
        assert_eq!(after.all().filter(same).count(), expected, "{change}");
        let retired = before.all.iter().filter(|host| host.is_retired()).count();
        assert_eq!(retired, usize::from(change % 3 == 1), "{change}");
    }
    assert!(before.all.iter().all(|host| !host.is_retired()));
}
