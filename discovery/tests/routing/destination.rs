//! `DestinationRule`s in, clusters and endpoints out.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use weir_api::xds::json::Descriptors;
use weir_discovery::{
    model::{Index, Snapshot},
    xds::{Client, Generator, Kind, Resource, Settings, View},
};

use weir_tests::envoy;

use crate::mesh::{affected, client, events, index, told};

/// `web` of two versions, one pod of each, and a caller of each kind in three namespaces.
const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.4.0.10, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-x, port: 81, targetPort: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: aside, namespace: shop}
spec: {clusterIP: 10.4.0.11, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, version: v1}}
spec: {containers: [{name: web, image: web}]}
status: {podIP: 10.5.0.1, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, labels: {app: web, version: v2}}
spec: {containers: [{name: web, image: web}]}
status: {podIP: 10.5.0.2, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: it, namespace: shop, labels: {app: caller}}
spec: {containers: [{name: web, image: web}]}
status: {podIP: 10.5.0.3, conditions: [{type: Ready, status: 'True'}]}
";
const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const OLD: &str = "outbound|80|old|web.shop.svc.cluster.local";

fn rule(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

fn with(rules: &[String]) -> Index {
    index(events(&(MESH.to_owned() + &rules.concat())))
}

fn read(resource: &Resource) -> Map<String, Value> {
    let yaml = Descriptors::load().to_yaml(&resource.body);
    yaml_serde::from_str(&yaml).expect("YAML")
}

fn message(snapshot: &Snapshot, kind: Kind, name: &str, namespace: &str) -> Map<String, Value> {
    read(&told(snapshot, kind, name, namespace).expect(name))
}

/// The fields in which the cluster of a port differs by a rule's policy, as they are then.
fn effect(port: u16, policy: &str) -> Value {
    let name = format!("outbound|{port}||web.shop.svc.cluster.local");
    let cluster = |index: &Index| message(&index.snapshot(), Kind::Cluster, &name, "shop");
    let spec = format!("host: web, trafficPolicy: {{{policy}}}");
    let (before, after) = (
        cluster(&with(&[])),
        cluster(&with(&[rule("shop", "it", &spec)])),
    );
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let keys = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    let changed = keys.map(|key| (key.clone(), after.get(key).cloned().unwrap_or_default()));
    changed.collect()
}

fn thresholds(field: &str, value: u32) -> Value {
    let mut all = json!({"max_connections": u32::MAX, "max_pending_requests": u32::MAX,
        "max_requests": u32::MAX, "max_retries": u32::MAX});
    all[field] = json!(value);
    json!({"circuit_breakers": {"thresholds": [all]}})
}

#[test]
fn each_bound_of_connections_and_requests_has_its_place_in_the_cluster_and_changes_nothing_else() {
    for (policy, expected) in [
        ("tcp: {maxConnections: 7}", thresholds("max_connections", 7)),
        (
            "tcp: {connectTimeout: 1.5s}",
            json!({"connect_timeout": "1.500s"}),
        ),
        (
            "tcp: {tcpKeepalive: {probes: 3, time: 2m, interval: 5s}}",
            json!({"upstream_connection_options": {"tcp_keepalive":
                {"keepalive_probes": 3, "keepalive_time": 120, "keepalive_interval": 5}}}),
        ),
        (
            "http: {http1MaxPendingRequests: 8}",
            thresholds("max_pending_requests", 8),
        ),
        ("http: {http2MaxRequests: 9}", thresholds("max_requests", 9)),
        ("http: {maxRetries: 0}", thresholds("max_retries", 0)),
    ] {
        let policy = format!("connectionPool: {{{policy}}}");
        assert_eq!(effect(80, &policy), expected, "{policy}");
        // Where nothing is said nothing is done.
        assert_eq!(effect(80, "connectionPool: {}"), json!({}));
    }
}

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

#[test]
fn what_a_rule_says_of_http_is_among_the_options_of_a_port_that_speaks_it() {
    let options = |policy: &str| {
        let effect = effect(80, &format!("connectionPool: {{http: {{{policy}}}}}"));
        let keys: Vec<_> = effect
            .as_object()
            .expect("fields")
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, ["typed_extension_protocol_options"], "{policy}");
        effect["typed_extension_protocol_options"][OPTIONS].clone()
    };
    let common =
        &options("maxRequestsPerConnection: 5, idleTimeout: 30s")["common_http_protocol_options"];
    assert_eq!(
        *common,
        json!({"max_requests_per_connection": 5, "idle_timeout": "30s"})
    );
    let downstream = &options("maxConcurrentStreams: 12")["use_downstream_protocol_config"];
    assert_eq!(
        downstream["http2_protocol_options"]["max_concurrent_streams"],
        12
    );
    let upgraded = &options("h2UpgradePolicy: UPGRADE")["explicit_http_config"];
    assert_eq!(*upgraded, json!({"http2_protocol_options": {}}));
    for policy in ["h2UpgradePolicy: DO_NOT_UPGRADE", "useClientProtocol: true"] {
        let policy = format!("connectionPool: {{http: {{{policy}}}}}");
        assert_eq!(effect(80, &policy), json!({}), "as before: {policy}");
    }
    // Who speaks TCP has no options of HTTP.
    let tcp = "connectionPool: {http: {maxRequestsPerConnection: 5, h2UpgradePolicy: UPGRADE}}";
    assert_eq!(effect(81, tcp), json!({}));
}

/// A cluster that hashes this of requests.
fn by_request(policy: &str, hash_policy: &Value) -> Value {
    let (message, _) = policy.split_once(".v3.").expect("a package");
    json!({
        "lb_policy": null,
        "load_balancing_policy": {"policies": [{"typed_extension_config": {
            "name": format!("envoy.load_balancing_policies.{message}"),
            "typed_config": {
                "@type": format!("type.googleapis.com/envoy.extensions.load_balancing_policies.{policy}"),
                "consistent_hashing_lb_config": {"hash_policy": [hash_policy]},
            },
        }}]},
    })
}

#[test]
fn connections_for_http_are_asked_whether_they_are_there_and_do_not_last_for_ever() {
    let options = |policy: &str| {
        let effect = effect(80, &format!("connectionPool: {{{policy}}}"));
        effect["typed_extension_protocol_options"][OPTIONS].clone()
    };
    let http2 = |options: &Value| {
        options["use_downstream_protocol_config"]["http2_protocol_options"].clone()
    };
    assert_eq!(
        http2(&options(
            "http: {http2KeepAlive: {interval: 8s, timeout: 9s}}"
        )),
        json!({"connection_keepalive": {"interval": "8s", "timeout": "9s"}})
    );
    assert_eq!(
        options("tcp: {maxConnectionDuration: 2h}")["common_http_protocol_options"],
        json!({"max_connection_duration": "7200s"})
    );
}

#[test]
fn retries_have_a_budget_in_place_of_a_number_and_new_endpoints_come_to_their_part_by_and_by() {
    let mut budget = thresholds("max_retries", 0);
    let of_port = &mut budget["circuit_breakers"]["thresholds"][0];
    of_port
        .as_object_mut()
        .expect("fields")
        .remove("max_retries");
    of_port["retry_budget"] =
        json!({"budget_percent": {"value": 25.5}, "min_retry_concurrency": 4});
    let said = "retryBudget: {percent: 25.5, minRetryConcurrency: 4}";
    assert_eq!(effect(80, said), budget);
    let slowly = json!({"slow_start_window": "30s", "min_weight_percent": {"value": 5.5},
        "aggression": {"default_value": 1.5, "runtime_key": "weir.warmup.aggression"}});
    let warmup = "warmup: {duration: 30s, minimumPercent: 5.5, aggression: 1.5}";
    for (policy, expected) in [
        (
            format!("simple: LEAST_REQUEST, {warmup}"),
            json!({"least_request_lb_config": {"slow_start_config": slowly}}),
        ),
        (
            format!("simple: ROUND_ROBIN, {warmup}"),
            json!({"lb_policy": null, "round_robin_lb_config": {"slow_start_config": slowly}}),
        ),
        (
            format!("simple: RANDOM, {warmup}"),
            json!({"lb_policy": "RANDOM"}),
        ),
    ] {
        let policy = format!("loadBalancer: {{{policy}}}");
        assert_eq!(effect(80, &policy), expected, "{policy}");
    }
}

#[test]
fn the_endpoint_is_chosen_as_a_rule_says() {
    for (policy, expected) in [
        ("simple: ROUND_ROBIN", json!({"lb_policy": null})),
        ("simple: RANDOM", json!({"lb_policy": "RANDOM"})),
        ("simple: LEAST_CONN", json!({})),
        ("simple: LEAST_REQUEST", json!({})),
        (
            "simple: PASSTHROUGH",
            json!({"lb_policy": "CLUSTER_PROVIDED", "type": "ORIGINAL_DST", "eds_cluster_config": null}),
        ),
        (
            "consistentHash: {useSourceIp: true}",
            json!({"lb_policy": "RING_HASH"}),
        ),
        (
            "consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 64}}",
            json!({"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": "64"}}),
        ),
        (
            "consistentHash: {useSourceIp: true, maglev: {tableSize: 7}}",
            json!({"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": "7"}}),
        ),
        (
            "consistentHash: {httpHeaderName: X-User}",
            by_request(
                "ring_hash.v3.RingHash",
                &json!({"header": {"header_name": "x-user"}}),
            ),
        ),
        (
            "consistentHash: {httpQueryParameterName: user, maglev: {}}",
            by_request(
                "maglev.v3.Maglev",
                &json!({"query_parameter": {"name": "user"}}),
            ),
        ),
        (
            "consistentHash: {httpCookie: {name: user, path: /a, ttl: 1m}}",
            by_request(
                "ring_hash.v3.RingHash",
                &json!({"cookie": {"name": "user", "path": "/a", "ttl": "60s"}}),
            ),
        ),
    ] {
        let policy = format!("loadBalancer: {{{policy}}}");
        assert_eq!(effect(80, &policy), expected, "{policy}");
    }
    // The hash is that of the caller's address, which routes and TCP proxies say.
    let hashed = with(&[rule(
        "shop",
        "it",
        "host: web, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}",
    )]);
    let snapshot = hashed.snapshot();
    let route = message(&snapshot, Kind::Route, WEB, "shop");
    let source = json!([{"connection_properties": {"source_ip": true}}]);
    assert_eq!(
        route["virtual_hosts"][0]["routes"][1]["route"]["hash_policy"],
        source
    );
    let listener = message(&snapshot, Kind::Listener, "outbound|10.4.0.10:81", "shop");
    let proxy = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(proxy["hash_policy"], json!([{"source_ip": {}}]));
}

#[test]
fn outlier_detection_is_enforced_where_it_is_said_and_endpoints_are_never_all_used_in_panic() {
    let panic = json!({"healthy_panic_threshold": {}});
    for (policy, expected, panics) in [
        ("", json!({}), &panic),
        (
            "consecutive5xxErrors: 3, consecutiveGatewayErrors: 0",
            json!({"consecutive_5xx": 3, "enforcing_consecutive_5xx": 100,
                "consecutive_gateway_failure": 0, "enforcing_consecutive_gateway_failure": 0}),
            &panic,
        ),
        (
            "splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 4",
            json!({"split_external_local_origin_errors": true, "consecutive_local_origin_failure": 4,
                "enforcing_consecutive_local_origin_failure": 100,
                "enforcing_local_origin_success_rate": 0}),
            &panic,
        ),
        (
            "interval: 1s, baseEjectionTime: 1m, maxEjectionPercent: 50, minHealthPercent: 30",
            json!({"interval": "1s", "base_ejection_time": "60s", "max_ejection_percent": 50}),
            &json!({"healthy_panic_threshold": {"value": 30}}),
        ),
    ] {
        let mut expected = expected;
        expected["enforcing_success_rate"] = json!(0);
        let effect = effect(80, &format!("outlierDetection: {{{policy}}}"));
        assert_eq!(effect["outlier_detection"], expected, "{policy}");
        assert_eq!(effect["common_lb_config"], *panics, "{policy}");
    }
}

/// A cluster as a client that speaks mutual TLS has it.
fn secured(index: &Index, name: &str) -> Map<String, Value> {
    let generator = Generator::new(Settings {
        mutual_tls: true,
        ..Settings::default()
    });
    let client = Client {
        mutual_tls: true,
        ..(*client("shop")).clone()
    };
    let snapshot = index.snapshot();
    let view = generator.view(&snapshot, Kind::Cluster, name, &client.into());
    assert!(matches!(view, View::MutualTls(_)));
    read(
        &generator
            .resource_for(&snapshot, Kind::Cluster, name, &view)
            .expect(name),
    )
}

#[test]
fn what_a_rule_says_of_tls_counts_for_more_than_what_is_known_of_endpoints() {
    let tls = |policy: &str| {
        let spec = format!("host: web, trafficPolicy: {{tls: {{{policy}}}}}");
        secured(&with(&[rule("shop", "it", &spec)]), WEB)
    };
    let automatic = secured(&with(&[]), WEB);
    let of_mesh = &automatic["transport_socket_matches"][0]["transport_socket"];
    let plain = tls("mode: DISABLE");
    assert!(
        !plain.contains_key("transport_socket_matches") && !plain.contains_key("transport_socket")
    );
    let mutual = tls("mode: ISTIO_MUTUAL");
    assert_eq!(mutual["transport_socket"], *of_mesh);
    assert!(!mutual.contains_key("transport_socket_matches"));

    let context =
        |cluster: &Map<String, Value>| cluster["transport_socket"]["typed_config"].clone();
    let simple = context(&tls(
        "mode: SIMPLE, sni: a.example, subjectAltNames: [b.example], caCertificates: /ca.pem",
    ));
    assert_eq!(simple["sni"], "a.example");
    let validation = &simple["common_tls_context"]["validation_context"];
    assert_eq!(validation["trusted_ca"]["filename"], "/ca.pem");
    let names = validation["match_typed_subject_alt_names"]
        .as_array()
        .expect("names");
    let names: Vec<_> = names
        .iter()
        .map(|it| (&it["san_type"], &it["matcher"]["exact"]))
        .collect();
    assert_eq!(
        names,
        [
            (&json!("DNS"), &json!("b.example")),
            (&json!("URI"), &json!("b.example"))
        ]
    );
    assert_eq!(simple["common_tls_context"].get("tls_certificates"), None);

    let files =
        "mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem";
    let cluster = tls(files);
    let certificate = &context(&cluster)["common_tls_context"]["tls_certificates"][0];
    assert_eq!(certificate["certificate_chain"]["filename"], "/c.pem");
    assert_eq!(certificate["private_key"]["filename"], "/k.pem");
    // Without a name to ask for, it is the host of the request, and the certificate has to have it.
    let options =
        &cluster["typed_extension_protocol_options"][OPTIONS]["upstream_http_protocol_options"];
    assert_eq!(
        *options,
        json!({"auto_sni": true, "auto_san_validation": true})
    );

    let open = context(&tls("mode: SIMPLE, insecureSkipVerify: true"));
    assert_eq!(open["common_tls_context"].get("validation_context"), None);
    // What is asked for and cannot be had is never spoken in plaintext.
    let refused = context(&tls("mode: SIMPLE, credentialName: secret"));
    let nobody = &refused["common_tls_context"]["validation_context"]["trusted_ca"]["filename"];
    assert_eq!(*nobody, "/dev/null/not-honoured");
}

fn addresses(assignment: &Map<String, Value>) -> Vec<String> {
    let localities = assignment
        .get("endpoints")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let endpoints = localities.flat_map(|it| it["lb_endpoints"].as_array().expect("endpoints"));
    let address = |it: &Value| it["endpoint"]["address"]["socket_address"]["address"].clone();
    endpoints
        .map(|it| address(it).as_str().expect("an address").to_owned())
        .collect()
}

const SUBSETS: &str = "host: web.shop.svc.cluster.local, \
    trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}, outlierDetection: {consecutive5xxErrors: 1}}, \
    subsets: [{name: old, labels: {version: v1}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 2}}}}, \
              {name: none, labels: {version: v9}}]";

#[test]
fn a_subset_has_a_cluster_of_its_own_with_its_endpoints_and_takes_over_what_it_does_not_say() {
    let index = with(&[rule("shop", "it", SUBSETS)]);
    let snapshot = index.snapshot();
    let cluster = message(&snapshot, Kind::Cluster, OLD, "shop");
    assert_eq!(cluster["name"], OLD);
    assert_eq!(
        cluster["circuit_breakers"]["thresholds"][0]["max_connections"],
        2
    );
    assert_eq!(cluster["outlier_detection"]["consecutive_5xx"], 1);
    let whole = message(&snapshot, Kind::Cluster, WEB, "shop");
    assert_eq!(
        whole["circuit_breakers"]["thresholds"][0]["max_connections"],
        1
    );
    let endpoints = |name: &str| addresses(&message(&snapshot, Kind::Endpoint, name, "shop"));
    assert_eq!(endpoints(OLD), ["10.5.0.1"]);
    assert_eq!(endpoints(WEB), ["10.5.0.1", "10.5.0.2"]);
    // No address of the service stands in for a group without endpoints.
    assert_eq!(endpoints(&OLD.replace("old", "none")), [""; 0]);
    let sni = secured(&index, OLD);
    let context = &sni["transport_socket_matches"][0]["transport_socket"]["typed_config"];
    assert_eq!(
        context["sni"],
        "outbound_.80_.old_.web.shop.svc.cluster.local"
    );
    let unknown = OLD.replace("old", "unknown");
    assert!(told(&snapshot, Kind::Cluster, &unknown, "shop").is_none());
    assert!(told(&snapshot, Kind::Endpoint, &unknown, "shop").is_none());
    let names = Generator::default().names(&snapshot, Kind::Cluster);
    assert!(names.contains(OLD) && !names.contains(&unknown));
}

/// Most connections of a cluster, as a caller of that namespace has it: each rule says its own number.
fn most(rules: &[String], namespace: &str, port: u16) -> Value {
    let name = format!("outbound|{port}||web.shop.svc.cluster.local");
    let cluster = message(&with(rules).snapshot(), Kind::Cluster, &name, namespace);
    cluster["circuit_breakers"]["thresholds"][0]["max_connections"].clone()
}

fn bounded(namespace: &str, name: &str, more: &str, most: u32) -> String {
    let pool = format!("trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {most}}}}}}}");
    rule(namespace, name, &format!("{more}, {pool}"))
}

const HOST: &str = "host: web.shop.svc.cluster.local";

#[test]
fn rules_of_the_callers_namespace_come_before_the_services_and_these_before_the_roots() {
    let none = json!(u32::MAX);
    let own = bounded("bank", "own", HOST, 1);
    let of_service = bounded("shop", "it", "host: web", 2);
    let of_root = bounded("weir-system", "root", "host: '*'", 3);
    let all = [own, of_service, of_root];
    assert_eq!(most(&all, "bank", 80), 1);
    assert_eq!(most(&all, "shop", 80), 2);
    assert_eq!(most(&all, "third", 80), 2);
    assert_eq!(most(&all[2..], "third", 80), 3);
    assert_eq!(most(&all[..1], "third", 80), none);
    // A short name is one of the rule's namespace.
    assert_eq!(
        most(&[bounded("bank", "it", "host: web", 4)], "bank", 80),
        none
    );
    // The narrower host counts.
    let wide = bounded("bank", "wide", "host: '*.shop.svc.cluster.local'", 5);
    let wider = bounded("bank", "wider", "host: '*'", 6);
    assert_eq!(most(&[wide.clone(), wider.clone()], "bank", 80), 5);
    assert_eq!(most(&[all[0].clone(), wide, wider], "bank", 80), 1);
}

#[test]
fn a_rule_is_for_those_to_whom_it_is_exported_and_whom_it_selects() {
    let none = json!(u32::MAX);
    let exported = |to: &str| {
        [bounded(
            "shop",
            "it",
            &format!("{HOST}, exportTo: [{to}]"),
            1,
        )]
    };
    for (to, shop, bank) in [("'*'", 1, 1), (".", 1, 0), ("bank", 0, 1), ("'~'", 0, 0)] {
        let expected = |one: u32| if one == 1 { json!(1) } else { none.clone() };
        assert_eq!(most(&exported(to), "shop", 80), expected(shop), "{to}");
        assert_eq!(most(&exported(to), "bank", 80), expected(bank), "{to}");
    }
    let selecting = |app: &str| {
        bounded(
            "shop",
            "it",
            &format!("{HOST}, workloadSelector: {{matchLabels: {{app: {app}}}}}"),
            1,
        )
    };
    let for_all = bounded("shop", "all", HOST, 2);
    assert_eq!(most(&[selecting("caller")], "shop", 80), 1);
    assert_eq!(most(&[selecting("other")], "shop", 80), none);
    assert_eq!(most(&[for_all.clone(), selecting("caller")], "shop", 80), 1);
    assert_eq!(most(&[for_all, selecting("other")], "shop", 80), 2);
    assert_eq!(most(&[selecting("caller")], "bank", 80), none);
}

#[test]
fn what_is_said_of_a_port_stands_alone_and_two_rules_of_one_host_are_one() {
    let of_port = "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}, portLevelSettings: [\
        {port: {number: 81}, outlierDetection: {consecutive5xxErrors: 2}}]}";
    let rules = [rule("shop", "it", &format!("host: web, {of_port}"))];
    assert_eq!(most(&rules, "shop", 80), 1);
    assert_eq!(most(&rules, "shop", 81), json!(u32::MAX));

    let second = rule(
        "shop",
        "second",
        "host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 9}}}, \
         subsets: [{name: old, labels: {version: v2}}, {name: new, labels: {version: v2}}]",
    );
    let both = with(&[rule("shop", "it", SUBSETS), second]);
    let snapshot = both.snapshot();
    let endpoints = |name: &str| addresses(&message(&snapshot, Kind::Endpoint, name, "shop"));
    assert_eq!(endpoints(OLD), ["10.5.0.1"], "the first of one name");
    assert_eq!(endpoints(&OLD.replace("old", "new")), ["10.5.0.2"]);
    let whole = message(&snapshot, Kind::Cluster, WEB, "shop");
    assert_eq!(
        whole["circuit_breakers"]["thresholds"][0]["max_connections"],
        1
    );
}

#[test]
fn a_rule_changes_what_it_is_about_alone_and_its_subsets_come_and_go_with_it() {
    let mut index = with(&[]);
    let touched = affected(&mut index, events(&rule("shop", "it", SUBSETS)));
    assert!(touched.contains(&(Kind::Cluster, OLD.to_owned())));
    assert!(touched.contains(&(Kind::Endpoint, OLD.to_owned())));
    assert!(
        touched
            .iter()
            .all(|(_, name)| !name.contains("aside") && !name.contains("irtual"))
    );
    let pod = MESH
        .split("---")
        .nth(3)
        .expect("a pod")
        .replace("version: v2", "version: v1");
    let touched = affected(&mut index, events(&pod));
    assert!(touched.contains(&(Kind::Endpoint, OLD.to_owned())));
    let assigned = message(&index.snapshot(), Kind::Endpoint, OLD, "shop");
    assert_eq!(addresses(&assigned), ["10.5.0.1", "10.5.0.2"]);
    let gone = affected(&mut index, events(&rule("shop", "it", "host: web")));
    assert!(gone.contains(&(Kind::Cluster, OLD.to_owned())));
    assert!(told(&index.snapshot(), Kind::Cluster, OLD, "shop").is_none());
}

#[test]
fn a_caller_that_gets_other_labels_comes_under_the_rules_that_select_these() {
    let selecting = bounded(
        "shop",
        "it",
        "host: web, workloadSelector: {matchLabels: {app: other}}",
        1,
    );
    let mut index = with(&[selecting]);
    let most = |index: &Index| {
        let cluster = message(&index.snapshot(), Kind::Cluster, WEB, "shop");
        cluster["circuit_breakers"]["thresholds"][0]["max_connections"].clone()
    };
    assert_eq!(most(&index), json!(u32::MAX));
    let pod = MESH
        .split("---")
        .nth(4)
        .expect("a pod")
        .replace("app: caller", "app: other");
    let touched = affected(&mut index, events(&pod));
    assert!(touched.contains(&(Kind::Cluster, WEB.to_owned())));
    assert_eq!(most(&index), 1);
}

#[test]
fn envoy_takes_the_clusters_of_every_policy() {
    if !envoy::available() {
        return;
    }
    let policies = [
        "loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 7}}",
        "loadBalancer: {simple: PASSTHROUGH}",
        "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 7}}}",
        "loadBalancer: {consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 7}}}",
        "loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: 0s}, maglev: {tableSize: 7}}}, \
         outlierDetection: {consecutive5xxErrors: 1}",
        "loadBalancer: {consistentHash: {httpQueryParameterName: user}}",
        "connectionPool: {tcp: {maxConnections: 1, connectTimeout: 1s, tcpKeepalive: {time: 1s}}, \
         http: {maxRequestsPerConnection: 1, idleTimeout: 1s, maxConcurrentStreams: 1, h2UpgradePolicy: UPGRADE}}",
        "outlierDetection: {consecutive5xxErrors: 1, splitExternalLocalOriginErrors: true, \
         consecutiveLocalOriginFailures: 1, interval: 1s, minHealthPercent: 1}",
        "tls: {mode: ISTIO_MUTUAL}",
        "tls: {mode: SIMPLE, insecureSkipVerify: true}",
    ];
    let clusters = policies.iter().enumerate().map(|(index, policy)| {
        let spec = format!("host: web, trafficPolicy: {{{policy}}}");
        let mut cluster = secured(&with(&[rule("shop", "it", &spec)]), WEB);
        cluster.remove("@type");
        cluster.insert("name".to_owned(), json!(format!("it-{index}")));
        cluster
    });
    let clusters: Vec<_> = clusters.collect();
    let directory = tempfile::tempdir().expect("temporary directory");
    let (path, nothing) = (
        directory.path().join("it.json"),
        directory.path().join("no.json"),
    );
    std::fs::write(&nothing, r#"{"resources": []}"#).expect("written");
    let bootstrap = json!({"node": {"id": "it", "cluster": "it"},
        "static_resources": {"clusters": clusters}});
    // What static resources refer to cannot come over a stream that is opened later.
    let file = json!({"path": nothing}).to_string();
    let file = format!(r#""path_config_source":{file}"#);
    let bootstrap = bootstrap.to_string().replace(r#""ads":{}"#, &file);
    std::fs::write(&path, bootstrap).expect("written");
    envoy::accepts(&path).unwrap_or_else(|said| panic!("envoy refuses it: {said}"));
}
