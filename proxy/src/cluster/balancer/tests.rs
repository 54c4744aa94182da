use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    super::{Tried, fixture},
    *,
};
use crate::{
    config::{
        LoadAssignment,
        endpoint::{Endpoint, HealthStatus, LocalityEndpoints},
        retry_host::HostSelection,
    },
    runtime::{Entry, Layer},
};

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn endpoint(port: u16, metadata: &Value) -> Endpoint {
    Endpoint {
        lb_metadata: Some(Arc::new(object(metadata))),
        ..Endpoint::at(([10, 0, 0, 1], port).into())
    }
}

/// A cluster with endpoints by priority.
fn cluster(fields: &str, priorities: Vec<Vec<Endpoint>>) -> Cluster {
    let localities = (0..)
        .zip(priorities)
        .map(|(priority, endpoints)| LocalityEndpoints {
            priority,
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
            ..LocalityEndpoints::default()
        });
    let endpoints = LoadAssignment {
        localities: localities.collect(),
        ..LoadAssignment::default()
    };
    let cluster = Cluster::new(&fixture::config(fields), Arc::default(), None);
    cluster.set_endpoints(&Arc::new(endpoints));
    cluster
}

/// Who is picked of a hundred times by a retry after attempts at those `tried`.
fn retried(cluster: &Cluster, tried: &Tried, hosts: &HostSelection) -> BTreeSet<u16> {
    let context = LoadBalancerContext {
        retry: Some(hosts),
        ..LoadBalancerContext::new(None, tried)
    };
    let picks = (0..100).filter_map(|_| cluster.pick(&context));
    picks.map(|host| host.address.port()).collect()
}

fn after(cluster: &Cluster, ports: &[u16]) -> Tried {
    let mut tried = Tried::default();
    for port in ports {
        let hosts = cluster.hosts();
        let host = hosts.all().find(|host| host.address.port() == *port);
        tried.note(Rc::clone(host.expect("a host")));
    }
    tried
}

#[test]
fn a_retry_avoids_the_hosts_that_it_names() {
    let endpoints = vec![
        endpoint(1, &json!({})),
        endpoint(2, &json!({ "canary": true })),
        endpoint(3, &json!({ "v": [1, 2] })),
    ];
    let cluster = cluster("lb_policy: RANDOM", vec![endpoints]);
    let tried = after(&cluster, &[1]);
    let all = || HostSelection {
        max_attempts: 60,
        ..HostSelection::default()
    };
    let picked = |hosts: HostSelection| Vec::from_iter(retried(&cluster, &tried, &hosts));
    let previous_hosts = HostSelection {
        previous_hosts: true,
        ..all()
    };
    assert_eq!(picked(previous_hosts.clone()), [2, 3]);
    let omit_canary_hosts = HostSelection {
        omit_canary_hosts: true,
        ..all()
    };
    assert_eq!(picked(omit_canary_hosts), [1, 3]);
    let omit_host_metadata = HostSelection {
        omit_host_metadata: Some(object(&json!({ "v": 2 }))),
        ..all()
    };
    assert_eq!(picked(omit_host_metadata), [1, 2]);
    // One more attempt at another one leads to the first a ninth of the times.
    let once_more = HostSelection {
        max_attempts: 1,
        ..previous_hosts
    };
    assert_eq!(picked(once_more), [1, 2, 3]);
    // Who says nothing gets others, too.
    assert_eq!(picked(all()), [2, 3]);
}

#[test]
fn a_retry_avoids_the_priorities_that_were_tried() {
    let priority = |port| vec![endpoint(port, &json!({}))];
    let cluster = cluster("lb_policy: ROUND_ROBIN", (1..=3).map(priority).collect());
    let hosts = |previous_priorities| HostSelection {
        previous_priorities: Some(previous_priorities),
        ..HostSelection::default()
    };
    let picked = |tried: &[u16], frequency| {
        let picked = retried(&cluster, &after(&cluster, tried), &hosts(frequency));
        Vec::from_iter(picked)
    };
    assert_eq!(picked(&[1], 1), [2]);
    assert_eq!(picked(&[1, 2], 1), [3]);
    // All were tried: again from the first.
    assert_eq!(picked(&[1, 2, 3], 1), [1]);
    // Looked at after each two attempts only.
    assert_eq!(picked(&[1], 2), [1]);
    assert_eq!(picked(&[1, 1], 2), [2]);
    assert_eq!(picked(&[1, 1, 2], 2), [2]);
    assert_eq!(cluster.stats.upstream_cx_none_healthy.get(), 0);
}

#[test]
fn a_retry_goes_nowhere_where_nobody_is_healthy() {
    let unhealthy = Endpoint {
        health: HealthStatus::Unhealthy,
        ..endpoint(1, &json!({}))
    };
    let fields = "common_lb_config: { healthy_panic_threshold: { value: 0 } }";
    let cluster = cluster(fields, vec![vec![unhealthy]]);
    let hosts = HostSelection {
        previous_priorities: Some(1),
        ..HostSelection::default()
    };
    assert!(retried(&cluster, &after(&cluster, &[1]), &hosts).is_empty());
}

#[test]
fn the_runtime_overrides_what_the_configuration_says() {
    let weighted = |port, weight| Endpoint {
        weight,
        ..endpoint(port, &json!({}))
    };
    let fields = "lb_policy: LEAST_REQUEST, least_request_lb_config: { active_request_bias: \
                  { default_value: 1.0, runtime_key: bias } }";
    let cluster = cluster(fields, vec![vec![weighted(1, 3), weighted(2, 1)]]);
    let busy = Rc::clone(cluster.hosts().all().next().expect("a host"));
    busy.add_active(2);
    let first = || {
        let tried = Tried::default();
        let context = LoadBalancerContext::new(None, &tried);
        let picks = (0..100).filter_map(|_| cluster.pick(&context));
        picks.filter(|host| host.address.port() == 1).count()
    };
    assert!(first().abs_diff(50) <= 1);
    let entries = BTreeMap::from([("bias".to_owned(), Entry::from_text("0"))]);
    let layer = Layer {
        name: "base".to_owned(),
        is_admin: false,
        entries,
    };
    cluster
        .balancer
        .follow(&Arc::new(Runtime::new(vec![layer])));
    cluster.regroup();
    assert!(first().abs_diff(75) <= 1);
}

#[test]
fn a_share_of_requests_is_refused_where_endpoints_have_too_much_to_do() {
    let refused = |numerator| {
        let policy = config::endpoint::Policy {
            drop_overload: Some(crate::runtime::FractionalPercent::percent(numerator)),
            ..config::endpoint::Policy::default()
        };
        let endpoints = LoadAssignment {
            policy,
            ..LoadAssignment::default()
        };
        let cluster = Cluster::new(&fixture::config("lb_policy: RANDOM"), Arc::default(), None);
        cluster.set_endpoints(&Arc::new(endpoints));
        (0..1000)
            .filter(|_| cluster.drops_overload().is_some())
            .count()
    };
    assert_eq!(refused(100), 1000);
    assert!(refused(30).abs_diff(300) < 100);
}
