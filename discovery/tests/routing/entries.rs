//! `ServiceEntry`s and `Sidecar`s in, what callers of each namespace are told out.

use serde_json::{Value, json};
use weir_api::xds::json::Descriptors;
use weir_discovery::{model::Snapshot, xds::Kind};

use crate::mesh::{events, index, told};

const HOST: &str = "outbound|80||api.example.com";
/// An address that is nobody's.
const NOBODYS: &str = "outbound|203.0.113.1:80";

fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

/// A host of that namespace that leads to that address.
fn entry(namespace: &str, address: &str, more: &str) -> String {
    let spec = format!(
        "hosts: [api.example.com], ports: [{{number: 80, name: http, protocol: HTTP}}], \
         resolution: STATIC, endpoints: [{{address: {address}}}], {more}"
    );
    object("ServiceEntry", namespace, "api", &spec)
}

fn snapshot(objects: &[String]) -> std::sync::Arc<Snapshot> {
    index(events(&objects.concat())).snapshot()
}

/// What callers of a namespace are told, if anything.
fn seen(snapshot: &Snapshot, kind: Kind, name: &str, namespace: &str) -> Option<Value> {
    let resource = told(snapshot, kind, name, namespace)?;
    let yaml = Descriptors::load().to_yaml(&resource.body);
    Some(yaml_serde::from_str(&yaml).expect("YAML"))
}

fn endpoints(snapshot: &Snapshot, namespace: &str) -> Option<String> {
    let told = seen(snapshot, Kind::Endpoint, HOST, namespace)?;
    let address =
        told.pointer("/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address");
    Some(address?.as_str()?.to_owned())
}

#[test]
fn callers_know_the_host_of_their_own_namespace_first_and_none_that_is_not_for_them() {
    let private = "exportTo: ['.']";
    let both = snapshot(&[
        entry("shop", "192.0.2.1", private),
        entry("bank", "192.0.2.2", private),
    ]);
    assert_eq!(endpoints(&both, "shop").as_deref(), Some("192.0.2.1"));
    assert_eq!(endpoints(&both, "bank").as_deref(), Some("192.0.2.2"));
    for kind in [Kind::Cluster, Kind::Endpoint, Kind::Route] {
        assert_eq!(seen(&both, kind, HOST, "other"), None, "{kind:?}");
    }
    let open = snapshot(&[
        entry("shop", "192.0.2.1", ""),
        entry("bank", "192.0.2.2", ""),
    ]);
    assert_eq!(endpoints(&open, "bank").as_deref(), Some("192.0.2.2"));
    assert!(endpoints(&open, "other").is_some());
    // So it is with addresses: what is not for a caller is nobody's.
    let address = "outbound|240.0.0.1:80";
    let private = "exportTo: ['.'], addresses: [240.0.0.1, 240.1.0.0/16]";
    let one = snapshot(&[entry("shop", "192.0.2.1", private)]);
    for name in [address, "outbound|240.1.2.3:80"] {
        assert!(seen(&one, Kind::Listener, name, "shop").is_some(), "{name}");
        assert_eq!(seen(&one, Kind::Listener, name, "bank"), None, "{name}");
    }
}

#[test]
fn addresses_that_are_nobodys_are_looked_into_only_where_a_host_may_be_meant() {
    let one = snapshot(&[entry("shop", "192.0.2.1", "exportTo: ['.']")]);
    assert!(seen(&one, Kind::Listener, NOBODYS, "shop").is_some());
    for (name, namespace) in [
        (NOBODYS, "bank"),
        ("outbound|203.0.113.1:81", "shop"),
        ("outbound|203.0.113.1:080", "shop"),
    ] {
        assert_eq!(seen(&one, Kind::Listener, name, namespace), None, "{name}");
    }
    // One with addresses is found by these.
    let by_address = snapshot(&[entry("shop", "192.0.2.1", "addresses: [240.0.0.1]")]);
    assert_eq!(seen(&by_address, Kind::Listener, NOBODYS, "shop"), None);
}

/// Names of the virtual hosts by which requests to addresses that are nobody's are routed.
fn hosts(snapshot: &Snapshot, namespace: &str) -> Vec<Value> {
    let routes = seen(snapshot, Kind::Route, "80", namespace).expect("routes");
    let hosts = routes["virtual_hosts"].as_array().expect("hosts");
    hosts.iter().map(|it| it["name"].clone()).collect()
}

#[test]
fn a_sidecar_says_what_becomes_of_the_unknown_for_its_own_namespace_or_from_the_root_for_all() {
    let refused = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
    let passed = "outboundTrafficPolicy: {mode: ALLOW_ANY}";
    let own = snapshot(&[
        entry("shop", "192.0.2.1", ""),
        object("Sidecar", "shop", "it", refused),
    ]);
    let host = "api.example.com:80";
    assert_eq!(hosts(&own, "shop"), [json!(host), json!("block_all")]);
    assert_eq!(hosts(&own, "bank"), [json!(host), json!("allow_any")]);
    let listener = |snapshot: &Snapshot, namespace: &str| {
        let listener = seen(snapshot, Kind::Listener, NOBODYS, namespace);
        let default = listener.expect("a listener")["default_filter_chain"].clone();
        default["filters"][0]["typed_config"]["cluster"].clone()
    };
    assert_eq!(listener(&own, "shop"), "BlackHoleCluster");
    assert_eq!(listener(&own, "bank"), "PassthroughCluster");
    let of_all = snapshot(&[
        object("Sidecar", "weir-system", "it", refused),
        object("Sidecar", "bank", "it", passed),
    ]);
    // Without any host, too, so that HTTP gets an answer.
    assert_eq!(listener(&of_all, "shop"), "BlackHoleCluster");
    assert_eq!(seen(&of_all, Kind::Listener, NOBODYS, "bank"), None);
}

#[test]
fn a_sidecar_says_where_the_application_listens_and_bounds_what_comes_to_it() {
    let spec = "inboundConnectionPool: {tcp: {maxConnections: 7}}, ingress: [\
         {port: {number: 9090, name: http}, defaultEndpoint: '127.0.0.1:8080', \
          connectionPool: {http: {http2MaxRequests: 8}}}, \
         {port: {number: 9091, name: tcp}, defaultEndpoint: '0.0.0.0:8081'}]";
    let one = snapshot(&[object("Sidecar", "shop", "it", spec)]);
    let cluster = |port: u16| {
        let name = format!("inbound|{port}|sidecar|");
        let told = seen(&one, Kind::Cluster, &name, "shop").expect("a cluster");
        let place = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
        let bounds = told["circuit_breakers"]["thresholds"][0].clone();
        (told.pointer(place).cloned(), bounds)
    };
    let (place, bounds) = cluster(9090);
    assert_eq!(
        place,
        Some(json!({"address": "127.0.0.1", "port_value": 8080}))
    );
    assert_eq!(bounds["max_requests"], 8);
    assert_eq!(
        bounds["max_connections"],
        u32::MAX,
        "the port's own bounds count alone"
    );
    let (place, bounds) = cluster(9091);
    assert!(place.is_none() || place.is_some_and(|it| it["port_value"] == 8081));
    assert_eq!(bounds["max_connections"], 7);
    // A port of which only bounds are said keeps its place.
    let (place, bounds) = cluster(8080);
    assert_eq!((place, &bounds["max_connections"]), (None, &json!(7)));
    assert_eq!(
        seen(&one, Kind::Cluster, "inbound|9090|sidecar|", "bank"),
        None
    );
}

#[test]
fn names_of_a_host_are_those_of_its_certificate_where_a_rule_names_none() {
    let tls = |more: &str| {
        let spec = format!(
            "host: api.example.com, trafficPolicy: {{tls: {{mode: SIMPLE, caCertificates: /ca.pem{more}}}}}"
        );
        let all = snapshot(&[
            entry("shop", "192.0.2.1", "subjectAltNames: [one.example.com]"),
            object("DestinationRule", "shop", "it", &spec),
        ]);
        let cluster = seen(&all, Kind::Cluster, HOST, "shop").expect("a cluster");
        let context = &cluster["transport_socket"]["typed_config"]["common_tls_context"];
        let names = &context["validation_context"]["match_typed_subject_alt_names"];
        names[0]["matcher"]["exact"].clone()
    };
    assert_eq!(tls(""), "one.example.com");
    assert_eq!(
        tls(", subjectAltNames: [two.example.com]"),
        "two.example.com"
    );
}
