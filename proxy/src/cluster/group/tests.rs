use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{super::fixture, *};
use crate::config::endpoint::Endpoint;

fn hosts(weights: &[u32]) -> Vec<Rc<Host>> {
    let host = |(port, weight): (u16, &u32)| {
        let endpoint = Endpoint {
            weight: *weight,
            ..Endpoint::at(([10, 0, 0, 1], port).into())
        };
        Rc::new(Host::new(&endpoint.into(), (0, 0)))
    };
    (0..).zip(weights).map(host).collect()
}

/// Hosts of a cluster with these fields; those of which `since` knows are new.
fn group(
    weights: &[u32],
    fields: &str,
    random: &Random,
    since: &dyn Fn(&Host) -> Option<Instant>,
) -> Group {
    let config = fixture::config(fields);
    let bias = match config.lb_policy {
        LbPolicy::LeastRequest(policy) => policy.active_request_bias,
        _ => 0.0,
    };
    let making = Making {
        config: &config,
        random,
        bias,
        slow_start: config.load_balancing.slow_start,
        since,
    };
    Group::new(hosts(weights), making)
}

/// How often each host is picked of so many times. The first has so many requests in flight.
fn counts(group: &Group, random: &Random, (active, times): (u32, u32)) -> BTreeMap<u16, u32> {
    let first = group.hosts().iter().find(|host| host.address.port() == 0);
    first.expect("the first").add_active(active as i32);
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let picking = Picking {
            random,
            hash: random.draw(),
            attempt: 0,
            in_flight: active,
        };
        let host = group.pick(picking).expect("a host");
        *counts.entry(host.address.port()).or_default() += 1;
    }
    counts
}

/// The shares of two hosts of equal weight, the first of which is busy, in percent.
fn first_of_two(fields: &str) -> u32 {
    let random = Random::default();
    let group = group(&[1, 1], fields, &random, &|_| None);
    let counts = counts(&group, &random, (5, 1000));
    counts.get(&0).copied().unwrap_or(0) / 10
}

#[test]
fn each_policy_picks_in_its_way() {
    assert_eq!(first_of_two("lb_policy: ROUND_ROBIN"), 50);
    // Both draws are the busy one a quarter of the time.
    let least = first_of_two("lb_policy: LEAST_REQUEST");
    assert!((15..35).contains(&least), "{least}");
    let more = "lb_policy: LEAST_REQUEST, least_request_lb_config: { choice_count: 5 }";
    let more = first_of_two(more);
    assert!(more < 10, "{more}");
    let all = "load_balancing_policy: { policies: [{ typed_extension_config: { name: l, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, \
               selection_method: FULL_SCAN } } }] }";
    assert_eq!(first_of_two(all), 0);
    let random = first_of_two("lb_policy: RANDOM");
    assert!((30..70).contains(&random), "{random}");
}

#[test]
fn of_those_with_the_fewest_requests_any_is_picked() {
    let all = "load_balancing_policy: { policies: [{ typed_extension_config: { name: l, typed_config: { \
               \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, \
               selection_method: FULL_SCAN } } }] }";
    let random = Random::default();
    let group = group(&[1, 1, 1, 1], all, &random, &|_| None);
    let counts = counts(&group, &random, (1, 3000));
    assert!(!counts.contains_key(&0));
    assert!(
        counts.values().all(|count| (800..1200).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn where_weights_differ_requests_in_flight_make_a_host_lighter() {
    let random = Random::default();
    let share = |bias: &str| {
        let bias = format!(
            "lb_policy: LEAST_REQUEST, least_request_lb_config: {{ active_request_bias: \
             {{ default_value: {bias}, runtime_key: k }} }}"
        );
        let group = group(&[3, 1], &bias, &random, &|_| None);
        counts(&group, &random, (2, 1000))[&0]
    };
    // Three to one; a third of three to one; a ninth of three to one.
    for (bias, expected) in [("0.0", 750), ("1.0", 500), ("2.0", 250)] {
        let found = share(bias);
        assert!(found.abs_diff(expected) < 5, "{bias}: {found}");
    }
}

proptest! {
    #[test]
    fn shares_go_by_weights(weights in prop::collection::vec(1_u32..1000, 2..20)) {
        let random = Random::default();
        let group = group(&weights, "lb_policy: ROUND_ROBIN", &random, &|_| None);
        let counts = counts(&group, &random, (0, 10_000));
        let total: u32 = weights.iter().sum();
        for (port, weight) in (0..).zip(weights) {
            let share = f64::from(weight) / f64::from(total);
            let found = f64::from(counts.get(&port).copied().unwrap_or(0)) / 10_000.0;
            prop_assert!((found - share).abs() < 0.01, "{found} for {share}");
        }
    }
}

#[test]
fn random_does_not_heed_weights() {
    let random = Random::default();
    let group = group(&[1, 1000], "lb_policy: RANDOM", &random, &|_| None);
    let counts = counts(&group, &random, (0, 1000));
    assert!((400..600).contains(&counts[&0]), "{counts:?}");
}

/// The share in percent of the first of two hosts that has been there for half of its window.
fn share_of_young(settings: &str, policy: &str) -> u32 {
    let random = Random::default();
    let window = Duration::from_secs(100_000);
    let fields = format!(
        "lb_policy: {policy}, {}: {{ slow_start_config: {{ slow_start_window: 100000s{settings} }} }}",
        match policy {
            "ROUND_ROBIN" => "round_robin_lb_config",
            _ => "least_request_lb_config",
        }
    );
    let Some(half) = Instant::now().checked_sub(window / 2) else {
        // The machine is younger.
        return u32::MAX;
    };
    let since = |host: &Host| (host.address.port() == 0).then_some(half);
    let group = group(&[1, 1], &fields, &random, &since);
    counts(&group, &random, (0, 3000))[&0] / 30
}

#[test]
fn a_new_host_gets_its_share_by_and_by() {
    for policy in ["ROUND_ROBIN", "LEAST_REQUEST"] {
        for (settings, expected) in [
            ("", 33),
            // Half to the power of two.
            (", aggression: { default_value: 0.5, runtime_key: k }", 20),
            (", min_weight_percent: { value: 100 }", 50),
        ] {
            let found = share_of_young(settings, policy);
            let near = found == u32::MAX || found.abs_diff(expected) <= 1;
            assert!(near, "{policy}{settings}: {found}");
        }
    }
}

#[test]
fn who_is_not_new_any_more_has_a_turn_like_others() {
    let random = Random::default();
    let fields = "round_robin_lb_config: { slow_start_config: { slow_start_window: 0.001s } }";
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1));
    let group = group(&[1, 1], fields, &random, &|_| long_ago);
    assert!(matches!(group.order, Order::Turns(_)));
}

#[test]
fn another_one_is_good_or_there_is_none() {
    let random = Random::default();
    for policy in ["ROUND_ROBIN", "RANDOM", "RING_HASH", "MAGLEV"] {
        let group = group(
            &[1, 1, 1],
            &format!("lb_policy: {policy}"),
            &random,
            &|_| None,
        );
        let picking = Picking {
            random: &random,
            hash: 7,
            attempt: 0,
            in_flight: 0,
        };
        let other = group.other(picking, |host| host.address.port() == 2);
        assert_eq!(other.map(|host| host.address.port()), Some(2), "{policy}");
        assert!(group.other(picking, |_| false).is_none());
    }
}
