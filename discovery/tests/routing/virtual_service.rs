//! `VirtualService`s in, routes and listeners out: `golden/virtual-services.in.yaml` gives
//! `golden/virtual-services.resources.yaml`. And which of several objects counts for whom.

use std::{collections::BTreeSet, fmt::Write, fs};

use serde_json::{Value, json};
use weir_api::xds::json::Descriptors;
use weir_discovery::{model::Index, xds::Kind};
use weir_tests::{envoy, golden::check};

use crate::mesh::{affected, envoy_takes, events, golden, index, told};

/// Each with who looks at it.
const LOOKS: [(&str, Kind, &str); 7] = [
    (
        "shop",
        Kind::Route,
        "outbound|80||web.shop.svc.cluster.local",
    ),
    (
        "bank",
        Kind::Route,
        "outbound|8080||web.shop.svc.cluster.local",
    ),
    (
        "shop",
        Kind::Route,
        "outbound|9080||cart.bank.svc.cluster.local",
    ),
    ("shop", Kind::Listener, "outbound|10.4.0.10:80"),
    ("shop", Kind::Listener, "outbound|10.4.0.12:7000"),
    ("shop", Kind::Listener, "outbound|10.4.0.12:443"),
    ("shop", Kind::Listener, "outbound|10.4.0.12:7001"),
];

#[test]
fn rules_become_the_resources_of_their_golden_file_and_envoy_takes_their_routes() {
    let manifests = fs::read_to_string(golden().join("virtual-services.in.yaml"));
    let snapshot = index(events(&manifests.expect("manifests"))).snapshot();
    let descriptors = Descriptors::load();
    let mut text = String::new();
    for (namespace, kind, name) in LOOKS {
        let resource = told(&snapshot, kind, name, namespace).expect("known");
        let yaml = descriptors.to_yaml(&resource.body);
        writeln!(text, "--- # {name}, clients in {namespace}\n{yaml}").expect("a string");
        if kind == Kind::Route && envoy::available() {
            envoy_takes(&yaml);
        }
    }
    let file = golden().join("virtual-services.resources.yaml");
    check(&file, &text);
}

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.4.0.10, ports: [{name: http, port: 80}, {name: tcp, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: aside, namespace: shop}
spec: {clusterIP: 10.4.0.11, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: it, namespace: shop, labels: {app: caller}}
spec: {containers: [{name: it, image: it}]}
status: {podIP: 10.5.0.3, conditions: [{type: Ready, status: 'True'}]}
";
const WEB: &str = "outbound|80||web.shop.svc.cluster.local";

fn rule(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1beta1\nkind: VirtualService\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

/// One that answers with a status, which tells whose it is.
fn answering(namespace: &str, name: &str, more: &str, status: u16) -> String {
    rule(
        namespace,
        name,
        &format!("{more}, http: [{{directResponse: {{status: {status}}}}}]"),
    )
}

fn with(rules: &[String]) -> Index {
    index(events(&(SERVICES.to_owned() + &rules.concat())))
}

fn routes(index: &Index, name: &str, namespace: &str) -> Vec<Value> {
    let resource = told(&index.snapshot(), Kind::Route, name, namespace).expect(name);
    let yaml = Descriptors::load().to_yaml(&resource.body);
    let routes: Value = yaml_serde::from_str(&yaml).expect("YAML");
    let routes = &routes["virtual_hosts"][0]["routes"];
    routes.as_array().cloned().unwrap_or_default()
}

/// The status with which requests of a namespace are answered; 0 if they go where they always did.
fn status(rules: &[String], namespace: &str) -> u64 {
    let routes = routes(&with(rules), WEB, namespace);
    routes[0]["direct_response"]["status"]
        .as_u64()
        .unwrap_or_default()
}

#[test]
fn of_several_rules_the_one_of_the_narrowest_host_counts_and_then_the_oldest() {
    let one = answering("shop", "b", "hosts: [web]", 201);
    let other = answering("shop", "c", "hosts: [web]", 202);
    let elder = other.replace(
        "name: c",
        "creationTimestamp: '2020-01-01T00:00:00Z', name: c",
    );
    let wide = answering("shop", "a", "hosts: ['*.shop.svc.cluster.local']", 203);
    let all = answering("bank", "a", "hosts: ['*']", 204);
    assert_eq!(
        status(&[other.clone(), one.clone()], "shop"),
        201,
        "by name"
    );
    assert_eq!(status(&[one.clone(), elder], "shop"), 202, "by age");
    assert_eq!(status(&[wide.clone(), other, all.clone()], "shop"), 202);
    assert_eq!(status(&[wide, all.clone()], "third"), 203);
    assert_eq!(status(&[all], "third"), 204);
    assert_eq!(
        status(&[answering("bank", "it", "hosts: [web]", 205)], "bank"),
        0,
        "bank/web"
    );
}

#[test]
fn a_rule_is_for_sidecars_to_whose_namespace_it_is_exported() {
    for (to, shop, bank) in [("'*'", 201, 201), (".", 201, 0), ("bank", 0, 201)] {
        let rules = [answering(
            "shop",
            "it",
            &format!("hosts: [web], exportTo: [{to}]"),
            201,
        )];
        assert_eq!(status(&rules, "shop"), shop, "{to}");
        assert_eq!(status(&rules, "bank"), bank, "{to}");
    }
    for (gateways, expected) in [("[a]", 0), ("[a, mesh]", 201), ("[]", 201)] {
        let more = format!("hosts: [web], gateways: {gateways}");
        assert_eq!(
            status(&[answering("shop", "it", &more, 201)], "shop"),
            expected,
            "{gateways}"
        );
    }
}

#[test]
fn routes_stand_in_the_order_in_which_they_are_written_and_who_sends_is_known_beforehand() {
    let spec = "hosts: [web], http: [\
        {name: first, match: [{uri: {prefix: /}, sourceNamespace: bank}], directResponse: {status: 201}}, \
        {name: second, match: [{sourceLabels: {app: caller}}], directResponse: {status: 202}}, \
        {name: third, match: [{port: 81}], directResponse: {status: 203}}, \
        {name: fourth, directResponse: {status: 204}}, \
        {name: fifth, match: [{uri: {exact: /narrow}}], directResponse: {status: 205}}]";
    let mut index = with(&[rule("shop", "it", spec)]);
    let names = |index: &Index, namespace| -> Vec<String> {
        let routes = routes(index, WEB, namespace);
        let names = routes.iter().map(|it| it["name"].as_str().expect("a name"));
        names
            .map(|it| it.rsplit('/').next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names(&index, "shop"), ["second", "fourth", "fifth"]);
    assert_eq!(names(&index, "bank"), ["first", "fourth", "fifth"]);
    assert_eq!(names(&index, "third"), ["fourth", "fifth"]);
    // With other labels it is under other rules.
    let pod = SERVICES
        .rsplit("---")
        .next()
        .expect("a pod")
        .replace("caller", "other");
    let touched = affected(&mut index, events(&pod));
    assert!(touched.contains(&(Kind::Route, WEB.to_owned())));
    assert_eq!(names(&index, "shop"), ["fourth", "fifth"]);
}

#[test]
fn where_a_route_of_gateway_api_speaks_of_a_service_it_counts_alone() {
    let route = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
        metadata: {name: it, namespace: shop}\nspec: {parentRefs: [{group: '', kind: Service, name: web}], \
        rules: [{backendRefs: [{name: aside, port: 80}]}]}\n";
    let rules = [answering("shop", "it", "hosts: [web]", 201)];
    assert_eq!(status(&rules, "shop"), 201);
    let both = [rules[0].clone(), route.to_owned()];
    assert_eq!(status(&both, "shop"), 0);
    let routes = routes(&with(&both), WEB, "shop");
    assert_eq!(
        routes[0]["route"]["cluster"],
        "outbound|80||aside.shop.svc.cluster.local"
    );
}

#[test]
fn a_delegate_is_asked_once_and_what_it_becomes_changes_those_who_delegate_to_it() {
    let root = rule(
        "shop",
        "root",
        "hosts: [web], http: [{match: [{uri: {prefix: /a}}], delegate: {name: more, namespace: bank}}]",
    );
    let mut index = with(&[root]);
    assert_eq!(
        routes(&index, WEB, "shop"),
        [Value::Null; 0],
        "it is not there"
    );
    let more = |http: &str| rule("bank", "more", &format!("http: [{http}]"));
    let touched = affected(&mut index, events(&more("{directResponse: {status: 201}}")));
    assert!(touched.contains(&(Kind::Route, WEB.to_owned())));
    let found = routes(&index, WEB, "shop");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["match"], json!({"prefix": "/a"}));
    // Around in a circle there is nothing.
    affected(
        &mut index,
        events(&more("{delegate: {name: root, namespace: shop}}")),
    );
    assert_eq!(routes(&index, WEB, "shop"), [Value::Null; 0]);
    // One that is about other paths is about none of these, and one with hosts is nobody's delegate.
    let elsewhere = "{match: [{uri: {prefix: /b}}], directResponse: {status: 201}}";
    affected(&mut index, events(&more(elsewhere)));
    assert_eq!(routes(&index, WEB, "shop"), [Value::Null; 0]);
    let with_hosts = rule(
        "bank",
        "more",
        "hosts: [x], http: [{directResponse: {status: 201}}]",
    );
    affected(&mut index, events(&with_hosts));
    assert_eq!(routes(&index, WEB, "shop"), [Value::Null; 0]);
}

#[test]
fn a_rule_that_is_wrong_fails_its_requests_and_one_that_matches_nobody_knows_what_is_dropped() {
    let spec = "hosts: [web], http: [\
        {match: [{uri: {regex: '('}}], directResponse: {status: 201}}, \
        {match: [{uri: {prefix: /b}}], directResponse: {status: 99}}, \
        {match: [{uri: {prefix: /c}}], directResponse: {status: 203}}]";
    let routes = routes(&with(&[rule("shop", "it", spec)]), WEB, "shop");
    let statuses: Vec<_> = routes
        .iter()
        .map(|it| it["direct_response"]["status"].clone())
        .collect();
    assert_eq!(statuses, [503, 203]);
}

#[test]
fn a_rule_changes_what_it_is_about_alone() {
    let mut index = with(&[]);
    let touched = affected(
        &mut index,
        events(&answering("shop", "it", "hosts: [web]", 201)),
    );
    let names: BTreeSet<_> = touched.iter().map(|(_, name)| name.as_str()).collect();
    let own = [
        WEB,
        "outbound|81||web.shop.svc.cluster.local",
        "outbound|10.4.0.10:80",
        "outbound|10.4.0.10:81",
    ];
    assert_eq!(names, own.into());
}

/// As many as the largest installations have, in an object that an API server takes.
#[test]
fn ten_thousand_rules_of_an_object_are_taken_and_more_are_cut_off() {
    let rules = |count: usize| {
        let rules = (0..count).map(|at| {
            format!("{{match: [{{uri: {{exact: /{at}}}}}], directResponse: {{status: 200}}}}")
        });
        let rules: Vec<_> = rules.collect();
        rule(
            "shop",
            "it",
            &format!("hosts: [web], http: [{}]", rules.join(", ")),
        )
    };
    for (count, expected) in [(10_000, 10_000), (10_007, 10_000)] {
        assert_eq!(routes(&with(&[rules(count)]), WEB, "shop").len(), expected);
    }
}
