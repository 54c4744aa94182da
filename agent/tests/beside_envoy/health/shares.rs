//! Shares of traffic by health and priority.

use std::collections::BTreeMap;

use weir_tests::envoy;

use super::{Cluster, Pair, endpoint, lb_endpoint};

/// Calls to each cluster: of 500, a share of 70 percent is between 62 and 78 but for one time in ten
/// thousand.
const CALLS: usize = 500;
const TOLERANCE: f64 = 8.0;

/// Name, more fields, the health of hosts by priority, and the shares that the hosts get in their order,
/// percent.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static [&'static str]],
    &'static [f64],
);

const ROWS: &[Row] = &[
    (
        "all",
        "",
        &[&["HEALTHY", "HEALTHY"], &["HEALTHY"]],
        &[50.0, 50.0, 0.0],
    ),
    (
        "half",
        "",
        &[&["HEALTHY", "UNHEALTHY"], &["HEALTHY"]],
        &[70.0, 0.0, 30.0],
    ),
    ("none", "", &[&["UNHEALTHY"], &["HEALTHY"]], &[0.0, 100.0]),
    (
        "draining",
        "",
        &[&["HEALTHY", "DRAINING"], &["HEALTHY"]],
        &[100.0, 0.0, 0.0],
    ),
    ("degraded", "", &[&["HEALTHY", "DEGRADED"]], &[70.0, 30.0]),
    ("below", "", &[&["DEGRADED"], &["HEALTHY"]], &[0.0, 100.0]),
    (
        "panic",
        "",
        &[&["HEALTHY", "UNHEALTHY", "TIMEOUT"]],
        &[33.3, 33.3, 33.3],
    ),
    ("drained", "", &[&["DRAINING", "UNHEALTHY"]], &[50.0, 50.0]),
    (
        "total",
        "",
        &[&["UNHEALTHY", "UNHEALTHY"], &["UNHEALTHY"]],
        &[33.3, 33.3, 33.3],
    ),
    (
        "calm",
        "common_lb_config: { healthy_panic_threshold: { value: 30 } },",
        &[&["HEALTHY", "UNHEALTHY", "TIMEOUT"]],
        &[100.0, 0.0, 0.0],
    ),
    (
        "random",
        "lb_policy: RANDOM,",
        &[&["HEALTHY", "UNHEALTHY"], &["HEALTHY"]],
        &[70.0, 0.0, 30.0],
    ),
    (
        "least",
        "lb_policy: LEAST_REQUEST,",
        &[&["HEALTHY", "UNHEALTHY"], &["HEALTHY"]],
        &[70.0, 0.0, 30.0],
    ),
];

fn cluster((name, fields, priorities, _): &Row) -> Cluster {
    let mut host = 0;
    let localities = priorities.iter().enumerate().map(|(priority, hosts)| {
        let endpoints = hosts.iter().map(|health| {
            let address = endpoint("200 OK", &host.to_string());
            host += 1;
            lb_endpoint(address, health)
        });
        let endpoints: Vec<_> = endpoints.collect();
        format!(
            "{{ priority: {priority}, lb_endpoints: [{}] }}",
            endpoints.join(", ")
        )
    });
    Cluster {
        localities: localities.collect::<Vec<_>>().join(", "),
        name: (*name).to_owned(),
        fields: (*fields).to_owned(),
    }
}

#[test]
fn hosts_get_the_shares_that_they_get_from_envoy() {
    if !envoy::available() {
        return;
    }
    let clusters: Vec<Cluster> = ROWS.iter().map(cluster).collect();
    let Pair([envoy, weir]) = Pair::start(&clusters);
    for (name, _, _, expected) in ROWS {
        for (who, proxy) in [("Envoy", &envoy), ("Weir", &weir)] {
            let mut counts = BTreeMap::<String, f64>::new();
            for _ in 0..CALLS {
                *counts.entry(proxy.ask(name).body).or_default() += 100.0 / CALLS as f64;
            }
            for (host, expected) in expected.iter().enumerate() {
                let found = counts.get(&host.to_string()).copied().unwrap_or_default();
                let tolerance = match *expected {
                    0.0 | 100.0 => 0.0001,
                    _ => TOLERANCE,
                };
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name} {who}: {counts:?}"
                );
            }
        }
        for prefix in ["membership_", "lb_healthy_panic"] {
            assert_eq!(
                weir.stats(name, prefix),
                envoy.stats(name, prefix),
                "{name}"
            );
        }
        assert_eq!(weir.flags(name), envoy.flags(name), "{name}");
    }
}
