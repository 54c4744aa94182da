//! To which endpoint a client comes by its hash: the same through both proxies.

use std::collections::BTreeSet;

use weir_tests::envoy;

use super::{Cluster, Pair, ask, endpoint};

/// The policies: what a cluster says.
const POLICIES: &[(&str, &str)] = &[
    ("ring", "lb_policy: RING_HASH,"),
    (
        "murmur",
        "lb_policy: RING_HASH, ring_hash_lb_config: { hash_function: MURMUR_HASH_2 },",
    ),
    (
        "small",
        "lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 5, maximum_ring_size: 7 },",
    ),
    ("maglev", "lb_policy: MAGLEV,"),
    (
        "table",
        "lb_policy: MAGLEV, maglev_lb_config: { table_size: 11 },",
    ),
    (
        "bounded",
        "lb_policy: MAGLEV, common_lb_config: { consistent_hashing_lb_config: { hash_balance_factor: 100 } },",
    ),
    (
        "weighed",
        "lb_policy: RING_HASH, common_lb_config: { locality_weighted_lb_config: {} },",
    ),
    (
        "weighty",
        "lb_policy: MAGLEV, common_lb_config: { locality_weighted_lb_config: {} },",
    ),
    (
        "typed-ring",
        r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: p, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash,
            hash_function: MURMUR_HASH_2, minimum_ring_size: 9, maximum_ring_size: 12 } } }] },"#,
    ),
    (
        "typed-named",
        r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: p, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash,
            use_hostname_for_hashing: true, hash_balance_factor: 120, locality_weighted_lb_config: {} } } }] },"#,
    ),
    (
        "typed-maglev",
        r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: p, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev,
            table_size: 13, locality_weighted_lb_config: {},
            consistent_hashing_lb_config: { use_hostname_for_hashing: true, hash_balance_factor: 150 } } } }] },"#,
    ),
    (
        "own-policy",
        r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: p, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev,
            consistent_hashing_lb_config: { hash_policy: [{ connection_properties: { source_ip: true } },
                { connection_properties: { source_ip: true } }] } } } }] },"#,
    ),
];

/// Two localities: of weight 1 and 3, with endpoints of several weights, one with a key of its own, one
/// that is degraded and one that is unhealthy.
fn localities() -> String {
    let endpoint =
        |name: &str, fields: &str| format!("{{ {fields} endpoint: {} }}", endpoint(name));
    let one = [
        endpoint("a", ""),
        endpoint("b", "load_balancing_weight: 3,"),
        endpoint(
            "c",
            "metadata: { filter_metadata: { envoy.lb: { hash_key: key-of-c } } },",
        ),
    ];
    let other = [
        endpoint("d", "health_status: DEGRADED,"),
        endpoint("e", "health_status: UNHEALTHY,"),
        endpoint("f", "load_balancing_weight: 2,"),
        endpoint("g", ""),
    ];
    format!(
        "{{ locality: {{ region: r, zone: one }}, load_balancing_weight: 1, lb_endpoints: [{}] }}, \
         {{ locality: {{ region: r, zone: other }}, load_balancing_weight: 3, lb_endpoints: [{}] }}",
        one.join(", "),
        other.join(", ")
    )
}

#[test]
fn a_client_comes_to_the_endpoint_that_envoy_takes() {
    if !envoy::available() {
        return;
    }
    let localities = localities();
    let local = Cluster {
        name: "local",
        ..Cluster::default()
    };
    let clusters = POLICIES.iter().map(|(name, fields)| Cluster {
        name,
        fields,
        localities: localities.clone(),
        ..Cluster::default()
    });
    let pair = Pair::start(&clusters.chain([local]).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (name, _) in POLICIES {
        let mut seen = BTreeSet::new();
        for client in 1..40 {
            let envoys = ask(&pair.envoy, name, client);
            let ours = ask(&pair.weir, name, client);
            if ours != envoys {
                wrong.push(format!("{name} 127.0.0.{client}: {ours}, Envoy {envoys}"));
            }
            seen.insert(envoys);
        }
        assert!(seen.len() > 1, "{name}: clients are spread: {seen:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
