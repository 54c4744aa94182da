//! The bootstrap is held by golden files, which real Envoy must take as well.

use std::{env, path::PathBuf};

use serde_json::json;
use weir_api::inbound_demands::Probe;
use weir_proxy::convert;
use weir_tests::envoy;

use super::*;

/// Of a container of 128 MiB.
const LIMITS: Limits = Limits {
    heap: 112 << 20,
    connections: 14_336,
};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn check(name: &str, sidecar: &Sidecar<'_>) {
    let bootstrap = sidecar.bootstrap().expect("a bootstrap");
    let yaml = to_yaml(&bootstrap);
    let path = golden(name);
    weir_tests::golden::check(&path, &yaml);
    let resources = bootstrap.static_resources.clone().expect("resources");
    for chain in resources.listeners.iter().flat_map(|it| &it.filter_chains) {
        let mut again = chain.clone();
        tls::encode_again(&mut again);
        assert_eq!(again, *chain, "the control plane's bytes");
    }
    convert::bootstrap(bootstrap).expect("our own data plane takes it");
    if envoy::available() {
        envoy::accepts(&path).unwrap_or_else(|said| panic!("{name}: envoy refuses it: {said}"));
    }
}

fn demands(inbound_tls: &str) -> InboundDemands {
    InboundDemands {
        tls: inbound_tls.parse().expect("JSON"),
        ..InboundDemands::default()
    }
}

fn port(number: u16, name: Option<&str>, protocol: Option<&str>) -> PodPort {
    PodPort {
        name: name.map(str::to_owned),
        container_port: number,
        protocol: protocol.map(str::to_owned),
    }
}

fn node() -> Value {
    json!({ "id": "sidecar~10.4.0.7~web-1.shop~shop.svc.cluster.local", "cluster": "web.shop" })
}

fn ports() -> Vec<PodPort> {
    vec![
        port(8080, Some("http"), Some("TCP")),
        port(3306, Some("mysql-main"), None),
        port(9000, None, None),
        port(9000, Some("tcp"), None),
        port(53, Some("dns"), Some("UDP")),
    ]
}

#[test]
fn a_pod_with_ports_and_both_families_gets_chains_for_each_port() {
    let (ports, trust_domain) = (ports(), TrustDomain::default());
    let sidecar = |inbound_tls: &str, mutual_tls| Sidecar {
        node: node(),
        ports: &ports,
        mutual_tls,
        demands: demands(inbound_tls),
        node_addresses: &[],
        kept: &[],
        control_plane: Some("127.0.0.1:15010"),
        has_ipv6: true,
        limits: LIMITS,
    };
    check("bootstrap-ports.yaml", &sidecar("{}", Some(&trust_domain)));
    let strict = r#"{"mode": "STRICT", "ports": {"7070": "DISABLE", "9000": "PERMISSIVE", "6060": "STRICT"}}"#;
    check(
        "bootstrap-strict.yaml",
        &sidecar(strict, Some(&trust_domain)),
    );
    let one_strict = r#"{"mode": "DISABLE", "ports": {"8080": "STRICT"}}"#;
    check(
        "bootstrap-strict-port.yaml",
        &sidecar(one_strict, Some(&trust_domain)),
    );
    check("bootstrap-refused.yaml", &sidecar(strict, None));
}

/// Policies are about the pod, of which the kubelet asks something: nobody is served, but it is answered.
#[test]
fn a_guarded_pod_answers_probes_of_its_node_and_refuses_all_else() {
    let (ports, trust_domain) = (ports(), TrustDomain::default());
    let node_addresses = [
        "10.4.0.1".parse().expect("one"),
        "fd00::1".parse().expect("one"),
    ];
    let probe = |port, path: Option<&str>| Probe {
        port,
        path: path.map(str::to_owned),
        tls: false,
    };
    let sidecar = |inbound_tls: &str, is_guarded| Sidecar {
        node: node(),
        ports: &ports[..2],
        mutual_tls: Some(&trust_domain),
        demands: InboundDemands {
            is_guarded,
            probes: vec![
                probe(8080, Some("/ready")),
                probe(7000, None),
                probe(8080, Some("/live")),
                Probe {
                    tls: true,
                    ..probe(8443, None)
                },
            ],
            ..demands(inbound_tls)
        },
        node_addresses: &node_addresses,
        kept: &[],
        control_plane: Some("127.0.0.1:15010"),
        has_ipv6: false,
        limits: LIMITS,
    };
    check("bootstrap-guarded.yaml", &sidecar("{}", true));
    check(
        "bootstrap-strict-probed.yaml",
        &sidecar(r#"{"mode": "STRICT"}"#, false),
    );
    // Where plaintext is taken, that of probes is, too.
    let permissive = sidecar("{}", false).bootstrap().expect("a bootstrap");
    let unprobed = Sidecar {
        demands: InboundDemands::default(),
        ..sidecar("{}", false)
    };
    assert_eq!(permissive, unprobed.bootstrap().expect("a bootstrap"));
}

#[test]
fn what_was_kept_takes_the_place_of_what_was_stamped() {
    let (ports, trust_domain) = (ports(), TrustDomain::default());
    let sidecar = |inbound_tls: &str| Sidecar {
        node: node(),
        ports: &ports[..1],
        mutual_tls: Some(&trust_domain),
        demands: demands(inbound_tls),
        node_addresses: &[],
        kept: &[],
        control_plane: Some("127.0.0.1:15010"),
        has_ipv6: false,
        limits: LIMITS,
    };
    let resources = |sidecar: &Sidecar<'_>| {
        let bootstrap = sidecar.bootstrap().expect("a bootstrap");
        convert::bootstrap(bootstrap.clone()).expect("our own data plane takes it");
        bootstrap.static_resources.expect("resources")
    };
    let inbound = |it: &Listener| it.name == names::VIRTUAL_INBOUND;
    let strict = resources(&sidecar(
        r#"{"mode": "STRICT", "ports": {"7000": "STRICT"}}"#,
    ));
    let mut kept: Vec<_> = strict
        .listeners
        .iter()
        .filter(|it| inbound(it))
        .cloned()
        .collect();
    // The control plane says nothing of that.
    let metadata = kept[0].metadata.take();
    let restored = resources(&Sidecar {
        kept: &kept,
        ..sidecar("{}")
    });
    let listener = restored.listeners.iter().find(|it| inbound(it));
    let listener = listener.expect("a listener");
    assert_eq!(listener.filter_chains, kept[0].filter_chains);
    assert_eq!(listener.default_filter_chain, None);
    assert!(metadata.is_some() && listener.metadata == metadata);
    // And what it leads to is there.
    assert_eq!(restored.clusters, strict.clusters);
    assert_eq!(restored.listeners.len(), strict.listeners.len());
}

#[test]
fn a_pod_without_ports_or_control_plane_passes_everything_through() {
    let sidecar = Sidecar {
        node: json!({ "id": "sidecar~10.4.0.7~job.shop~shop.svc.cluster.local", "cluster": "web.shop" }),
        ports: &[],
        mutual_tls: None,
        demands: InboundDemands::default(),
        node_addresses: &[],
        kept: &[],
        control_plane: None,
        has_ipv6: false,
        limits: LIMITS,
    };
    check("bootstrap-bare.yaml", &sidecar);
}

#[test]
fn a_named_control_plane_is_left_to_the_client_to_resolve() {
    let cluster = control_plane_cluster("weir-control.weir-system.svc:15012");
    assert_eq!(cluster["load_assignment"]["endpoints"], json!([]));
}
