//! Aggregate clusters: which of their clusters gets what, and who counts it.

use std::collections::BTreeMap;

use weir_tests::envoy;

use super::{endpoint, lb_endpoint};
use crate::proxies::{Ports, Proxy};

/// Of 300 calls, a share of 70 percent is between 60 and 80 but for one time in five thousand.
const CALLS: usize = 300;
const TOLERANCE: f64 = 10.0;

/// Name, its clusters, and the shares that these get, percent.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, f64)],
);

const ROWS: &[Row] = &[
    ("all", &["up", "up2"], &[("up", 100.0)]),
    ("spill", &["half", "up"], &[("half", 70.0), ("up", 30.0)]),
    ("none", &["down", "up"], &[("up", 100.0)]),
    ("absent", &["nowhere", "up"], &[("up", 100.0)]),
    ("empty", &["nobody", "up"], &[("up", 100.0)]),
    ("factor", &["exact", "up"], &[("exact", 50.0), ("up", 50.0)]),
    ("deep", &["none", "up2"], &[("up2", 100.0)]),
    ("levels", &["below", "up"], &[("below", 100.0)]),
    (
        "lost",
        &["down", "down2"],
        &[("down", 50.0), ("down2", 50.0)],
    ),
    ("nothing", &["nowhere", "nobody"], &[]),
];

/// A cluster whose endpoints, by priority, have this health and say its name.
fn cluster(name: &str, priorities: &[&[&str]], factor: u32) -> String {
    let localities = (0..).zip(priorities).map(|(priority, healths)| {
        let endpoints = healths
            .iter()
            .map(|health| lb_endpoint(endpoint("200 OK", name), health));
        let endpoints: Vec<_> = endpoints.collect();
        format!(
            "{{ priority: {priority}, lb_endpoints: [{}] }}",
            endpoints.join(", ")
        )
    });
    let localities: Vec<_> = localities.collect();
    format!(
        "{{ name: {name}, type: STATIC, load_assignment: {{ cluster_name: {name}, policy: {{ \
         overprovisioning_factor: {factor} }}, endpoints: [{}] }} }}",
        localities.join(", ")
    )
}

fn aggregate(name: &str, clusters: &[&str]) -> String {
    format!(
        "{{ name: {name}, lb_policy: CLUSTER_PROVIDED, connect_timeout: 1s, cluster_type: {{ name: \
         envoy.clusters.aggregate, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig, clusters: [{}] }} }} }}",
        clusters.join(", ")
    )
}

fn bootstrap() -> String {
    let (up, down) = ("HEALTHY", "UNHEALTHY");
    let mut clusters = vec![
        cluster("up", &[&[up]], 140),
        cluster("up2", &[&[up]], 140),
        cluster("half", &[&[up, down]], 140),
        cluster("exact", &[&[up, down]], 100),
        cluster("down", &[&[down, down]], 140),
        cluster("down2", &[&[down, down]], 140),
        cluster("below", &[&[down], &[up]], 140),
        cluster("nobody", &[], 140),
    ];
    clusters.extend(
        ROWS.iter()
            .map(|(name, members, _)| aggregate(name, members)),
    );
    let route = |name: &str| {
        format!("{{ match: {{ prefix: /{name}/ }}, route: {{ cluster: {name}, timeout: 10s }} }}")
    };
    let routes: Vec<_> = ROWS.iter().map(|(name, ..)| route(name)).collect();
    include_str!("../health.bootstrap.yaml")
        .replace("@ROUTES@", &routes.join(", "))
        .replace("@CLUSTERS@", &clusters.join(", "))
        .replace("@BYTES@", "none")
}

/// How many percent of the calls each cluster answers.
fn shares(proxy: &Proxy, name: &str, calls: usize) -> BTreeMap<String, f64> {
    let mut answers = BTreeMap::<String, usize>::new();
    for _ in 0..calls {
        let answer = proxy.ask(name);
        if answer.status == 200 {
            *answers.entry(answer.body).or_default() += 1;
        } else {
            assert_eq!(
                (answer.status, &*answer.body),
                (503, "no healthy upstream"),
                "{name}"
            );
        }
    }
    let percent = |(body, count)| (body, 100.0 * count as f64 / calls as f64);
    answers.into_iter().map(percent).collect()
}

#[test]
fn priorities_of_clusters_follow_each_other() {
    if !envoy::available() {
        return;
    }
    let bootstrap = bootstrap();
    let proxies = [
        Proxy::envoy(&bootstrap, Ports::free()),
        Proxy::weir(&bootstrap, Ports::free()),
    ];
    for (name, _, expected) in ROWS {
        for (proxy, program) in proxies.iter().zip(["Envoy", "Weir"]) {
            // Envoy takes a second over each where there is nobody.
            let calls = if expected.is_empty() { 2 } else { CALLS };
            let seen = shares(proxy, name, calls);
            assert_eq!(seen.len(), expected.len(), "{program} {name}: {seen:?}");
            for (cluster, share) in *expected {
                let of_cluster = seen.get(*cluster).copied().unwrap_or_default();
                let is_near = (of_cluster - share).abs() <= TOLERANCE;
                assert!(is_near, "{program} {name}: {seen:?}");
            }
        }
    }
    // The cluster that a route names counts answers; the one that is chosen counts attempts.
    for name in ["all", "none", "nothing"] {
        let counts = |proxy: &Proxy| {
            [
                "upstream_rq_2xx",
                "upstream_rq_5xx",
                "upstream_rq_completed",
                "upstream_rq_total",
            ]
            .map(|stat| proxy.stat(name, stat))
        };
        let [envoy, weir] = proxies.each_ref().map(counts);
        assert_eq!(weir, envoy, "{name}");
    }
    for proxy in &proxies {
        assert!(proxy.stat("up", "upstream_rq_total") > 0);
        assert_eq!(proxy.stat("up", "upstream_rq_2xx"), 0);
        // As bytes it is chosen for each connection.
        assert!(proxy.connect());
    }
}
