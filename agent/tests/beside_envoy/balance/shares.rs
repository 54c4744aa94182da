//! Which share of the calls each endpoint gets, through either proxy.

use weir_tests::envoy;

use super::{Cluster, Pair, endpoint, shares, stats};

/// Calls to each cluster: of 400, a share of half is between 40 and 60 percent but for one time in ten
/// thousand.
const CALLS: u32 = 400;
const TOLERANCE: f64 = 10.0;

/// A locality: its zone, weight and priority, and its endpoints: name and more fields.
type Zone = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Name, what the cluster says, what the route says, localities, and the shares of endpoints, percent.
struct Row {
    name: &'static str,
    fields: &'static str,
    route: &'static str,
    zones: &'static [Zone],
    expected: &'static [(&'static str, f64)],
}

const WEIGHTED: &str = "common_lb_config: { locality_weighted_lb_config: {} },";
const ONE_TO_THREE: &[Zone] = &[
    ("a", "load_balancing_weight: 1,", &[("a", "")]),
    ("b", "load_balancing_weight: 3,", &[("b", ""), ("c", "")]),
];

const ROWS: &[Row] = &[
    Row {
        name: "weights",
        fields: "",
        route: "",
        zones: &[(
            "a",
            "",
            &[
                ("a", "load_balancing_weight: 3,"),
                ("b", "load_balancing_weight: 1,"),
            ],
        )],
        expected: &[("a", 75.0), ("b", 25.0)],
    },
    Row {
        name: "localities",
        fields: WEIGHTED,
        route: "",
        zones: ONE_TO_THREE,
        expected: &[("a", 25.0), ("b", 37.5), ("c", 37.5)],
    },
    Row {
        name: "partial",
        fields: WEIGHTED,
        route: "",
        zones: &[
            ("a", "load_balancing_weight: 1,", &[("a", "")]),
            (
                "b",
                "load_balancing_weight: 1,",
                &[("b", ""), ("c", "health_status: UNHEALTHY,")],
            ),
        ],
        // Half of them times 1.4.
        expected: &[("a", 58.8), ("b", 41.2)],
    },
    Row {
        name: "unsaid",
        fields: WEIGHTED,
        route: "",
        zones: &[
            ("a", "", &[("a", "")]),
            ("b", "load_balancing_weight: 2,", &[("b", "")]),
        ],
        expected: &[("b", 100.0)],
    },
    Row {
        name: "subset",
        fields: "lb_subset_config: { fallback_policy: NO_FALLBACK, subset_selectors: [{ keys: [v] }] },",
        route: TO_V1,
        zones: &[("a", "", &[("a", V1), ("b", V2), ("c", V1)])],
        expected: &[("a", 50.0), ("c", 50.0)],
    },
    Row {
        name: "scaled",
        fields: "common_lb_config: { locality_weighted_lb_config: {} }, lb_subset_config: { locality_weight_aware: true, scale_locality_weight: true, subset_selectors: [{ keys: [v] }] },",
        route: TO_V1,
        zones: &[
            ("a", "load_balancing_weight: 10,", &[("a", V1)]),
            ("b", "load_balancing_weight: 20,", &[("b", V1), ("c", V2)]),
        ],
        expected: &[("a", 50.0), ("b", 50.0)],
    },
    Row {
        name: "aware",
        fields: "common_lb_config: { locality_weighted_lb_config: {} }, lb_subset_config: { locality_weight_aware: true, subset_selectors: [{ keys: [v] }] },",
        route: TO_V1,
        zones: TEN_TO_THIRTY,
        expected: &[("a", 25.0), ("b", 75.0)],
    },
    Row {
        name: "unaware",
        fields: "common_lb_config: { locality_weighted_lb_config: {} }, lb_subset_config: { subset_selectors: [{ keys: [v] }] },",
        route: TO_V1,
        zones: TEN_TO_THIRTY,
        expected: &[("a", 50.0), ("b", 50.0)],
    },
    Row {
        name: "fallback",
        fields: "lb_subset_config: { fallback_policy: DEFAULT_SUBSET, default_subset: { v: 2 }, subset_selectors: [{ keys: [v] }] },",
        route: TO_V7,
        zones: &[("a", "", &[("a", V1), ("b", V2)])],
        expected: &[("b", 100.0)],
    },
    Row {
        name: "panic",
        fields: "lb_subset_config: { fallback_policy: DEFAULT_SUBSET, default_subset: { v: 9 }, panic_mode_any: true, subset_selectors: [{ keys: [v] }] },",
        route: TO_V7,
        zones: &[("a", "", &[("a", V1), ("b", V2)])],
        expected: &[("a", 50.0), ("b", 50.0)],
    },
    Row {
        name: "nobody",
        fields: "lb_subset_config: { subset_selectors: [{ keys: [v] }] },",
        route: "",
        zones: &[("a", "", &[("a", V1)])],
        expected: &[("503", 100.0)],
    },
    Row {
        // Of two proxies one is here, and so is half of what can take calls.
        name: "direct",
        fields: ZONES,
        route: "",
        zones: &[
            ("own", "", &[("a", ""), ("b", "")]),
            ("else", "", &[("c", ""), ("d", "")]),
        ],
        expected: &[("a", 50.0), ("b", 50.0)],
    },
    Row {
        // Of four parts one is here: half of what half of the proxies have.
        name: "residual",
        fields: ZONES,
        route: "",
        zones: ONE_OF_FOUR,
        expected: &[("a", 50.0), ("b", 16.7), ("c", 16.7), ("d", 16.7)],
    },
    Row {
        name: "few",
        fields: "",
        route: "",
        zones: ONE_OF_TWO,
        expected: &[("a", 50.0), ("b", 50.0)],
    },
    Row {
        name: "disabled",
        fields: "common_lb_config: { zone_aware_lb_config: { min_cluster_size: 2, routing_enabled: { value: 0 } } },",
        route: "",
        zones: ONE_OF_TWO,
        expected: &[("a", 50.0), ("b", 50.0)],
    },
    Row {
        name: "forced",
        fields: r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: r, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random,
            locality_lb_config: { zone_aware_lb_config: { min_cluster_size: 1, force_local_zone: { min_size: 1 } } } } } }] },"#,
        route: "",
        zones: ONE_OF_FOUR,
        expected: &[("a", 100.0)],
    },
    Row {
        name: "not-forced",
        fields: r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: r, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random,
            locality_lb_config: { zone_aware_lb_config: { min_cluster_size: 1, force_local_zone: { min_size: 2 } } } } } }] },"#,
        route: "",
        zones: ONE_OF_FOUR,
        expected: &[("a", 50.0), ("b", 16.7), ("c", 16.7), ("d", 16.7)],
    },
    Row {
        name: "straight",
        fields: r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: r, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest,
            locality_lb_config: { zone_aware_lb_config: { min_cluster_size: 1, force_locality_direct_routing: true } } } } }] },"#,
        route: "",
        zones: ONE_OF_FOUR,
        expected: &[("a", 100.0)],
    },
    Row {
        name: "heavy",
        fields: r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: r, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin,
            locality_lb_config: { zone_aware_lb_config: { min_cluster_size: 1, locality_basis: HEALTHY_HOSTS_WEIGHT } } } } }] },"#,
        route: "",
        zones: &[
            ("own", "", &[("a", "load_balancing_weight: 3,")]),
            ("else", "", &[("b", ""), ("c", ""), ("d", "")]),
        ],
        expected: &[("a", 100.0)],
    },
    Row {
        // Where the others like this one are: half of them here.
        name: "local",
        fields: "",
        route: "",
        zones: ONE_OF_TWO,
        expected: &[("a", 50.0), ("b", 50.0)],
    },
];

const TEN_TO_THIRTY: &[Zone] = &[
    ("a", "load_balancing_weight: 10,", &[("a", V1)]),
    ("b", "load_balancing_weight: 30,", &[("b", V1), ("c", V2)]),
];
const ONE_OF_TWO: &[Zone] = &[("own", "", &[("a", "")]), ("else", "", &[("b", "")])];
const ONE_OF_FOUR: &[Zone] = &[
    ("own", "", &[("a", "")]),
    ("else", "", &[("b", ""), ("c", ""), ("d", "")]),
];
const TO_V1: &str = "metadata_match: { filter_metadata: { envoy.lb: { v: 1 } } },";
const TO_V7: &str = "metadata_match: { filter_metadata: { envoy.lb: { v: 7 } } },";
const ZONES: &str = "common_lb_config: { zone_aware_lb_config: { min_cluster_size: 4 } },";
const V1: &str = "metadata: { filter_metadata: { envoy.lb: { v: 1 } } },";
const V2: &str = "metadata: { filter_metadata: { envoy.lb: { v: 2 } } },";

fn cluster(row: &Row) -> Cluster {
    let localities = row.zones.iter().map(|(zone, fields, endpoints)| {
        let endpoints = endpoints
            .iter()
            .map(|(name, fields)| format!("{{ {fields} endpoint: {} }}", endpoint(name)));
        format!(
            "{{ locality: {{ region: r, zone: {zone} }}, {fields} lb_endpoints: [{}] }}",
            endpoints.collect::<Vec<_>>().join(", ")
        )
    });
    Cluster {
        name: row.name,
        fields: row.fields,
        route: row.route,
        localities: localities.collect::<Vec<_>>().join(", "),
        ..Cluster::default()
    }
}

#[test]
fn endpoints_get_the_shares_that_they_get_from_envoy() {
    if !envoy::available() {
        return;
    }
    let clusters: Vec<Cluster> = ROWS.iter().map(cluster).collect();
    let pair = Pair::start(&clusters);
    let mut wrong = Vec::new();
    for Row { name, expected, .. } in ROWS {
        for (who, proxy) in [("Envoy", &pair.envoy), ("Weir", &pair.weir)] {
            let found = shares(proxy, name, CALLS);
            let near = |(endpoint, expected): &(&str, f64)| {
                let found = found.get(*endpoint).copied().unwrap_or_default();
                (found - expected).abs() < TOLERANCE
            };
            if found.len() != expected.len() || !expected.iter().all(near) {
                wrong.push(format!("{name} {who}: {found:?}"));
            }
        }
        for prefix in [
            "lb_subsets_selected",
            "lb_subsets_fallback",
            "lb_zone_routing_all_directly",
            "lb_healthy_panic",
        ] {
            let all = |proxy| -> Vec<(String, u64)> {
                let stats = stats(proxy, name, prefix).into_iter();
                stats.filter(|(_, value)| *value > 0).collect()
            };
            let (ours, envoys) = (all(&pair.weir), all(&pair.envoy));
            if ours != envoys {
                wrong.push(format!("{name}: {ours:?}, Envoy {envoys:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
