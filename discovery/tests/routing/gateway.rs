//! Routes of Gateway API in, what sidecars are told out: `golden/routes.in.yaml` gives
//! `golden/routes.routes.yaml`. And what of all that a change of one object changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use weir_api::xds::json::Descriptors;
use weir_discovery::{
    model::{Caller, Event, Index, NamespacedName},
    xds::{Generator, Kind, View},
};
use weir_tests::{envoy, golden::check};

use crate::mesh::{affected, client, envoy_takes, events, golden, index, told};

/// Each with who looks at it.
const LOOKS: [(&str, &str, &str); 6] = [
    ("shop", "web", "80"),
    ("shop", "web", "8080"),
    ("shop", "web", "9000"),
    ("other", "web", "80"),
    ("third", "web", "9001"),
    ("shop", "pods", "80"),
];

fn routes_file() -> String {
    fs::read_to_string(golden().join("routes.in.yaml")).expect("manifests")
}

#[test]
fn routes_become_the_route_configurations_of_their_golden_file_and_envoy_takes_them() {
    let snapshot = index(events(&routes_file())).snapshot();
    let descriptors = Descriptors::load();
    let (mut text, mut configurations) = (String::new(), Vec::new());
    for (namespace, service, port) in LOOKS {
        let name = format!("outbound|{port}||{service}.shop.svc.cluster.local");
        let resource = told(&snapshot, Kind::Route, &name, namespace).expect("known");
        let yaml = descriptors.to_yaml(&resource.body);
        writeln!(
            text,
            "--- # {service}:{port}, clients in {namespace}\n{yaml}"
        )
        .expect("a string");
        configurations.push(yaml);
    }
    let file = golden().join("routes.routes.yaml");
    check(&file, &text);
    if envoy::available() {
        configurations.iter().for_each(|yaml| envoy_takes(yaml));
    }
}

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.4.0.10, ports: [{name: http, port: 80}, {name: more, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: other}
spec: {clusterIP: 10.4.0.11, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: aside, namespace: shop}
spec: {clusterIP: 10.4.0.12, ports: [{name: http, port: 80}]}
";

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";

fn route(namespace: &str, parent: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: it, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, {parent}}}], \
         rules: [{{backendRefs: [{{name: far, namespace: other, port: 80}}]}}]}}\n"
    )
}

const GRANT: &str = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: it, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: '', kind: Service}]
";

/// The versions of all routes, as clients of a namespace see them.
fn versions(index: &Index, namespace: &str) -> BTreeMap<String, String> {
    let snapshot = index.snapshot();
    let names = Generator::default().names(&snapshot, Kind::Route);
    let version = |name: &str| {
        let resource = told(&snapshot, Kind::Route, name, namespace).expect("known");
        resource.version.to_string()
    };
    names
        .into_iter()
        .map(|name| (name.clone(), version(&name)))
        .collect()
}

#[test]
fn a_route_changes_its_own_ports_alone_and_so_do_the_grant_and_the_backend_that_it_needs() {
    let mut index = index(events(SERVICES));
    let before = versions(&index, "shop");
    let routes = |affected: BTreeSet<(Kind, String)>| -> BTreeSet<String> {
        let routes = affected
            .into_iter()
            .filter(|(kind, _)| *kind == Kind::Route);
        routes.map(|(_, name)| name).collect()
    };
    let web: BTreeSet<String> = [80, 81]
        .map(|port| format!("outbound|{port}||web.shop.svc.cluster.local"))
        .into();
    let put = events(&route("shop", "name: web, port: 80"));
    assert_eq!(routes(affected(&mut index, put)), web);
    let with_route = versions(&index, "shop");
    let changed: Vec<_> = with_route
        .iter()
        .filter(|it| before[it.0] != *it.1)
        .collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0].0, WEB);

    let granted = affected(&mut index, events(GRANT));
    assert_eq!(routes(granted), web);
    assert_ne!(versions(&index, "shop")[WEB], with_route[WEB]);

    let far = NamespacedName::new("other", "far");
    let gone = Event::Deleted(weir_discovery::model::ObjectKey::Service(far));
    let lost = routes(affected(&mut index, vec![gone]));
    assert!(lost.is_superset(&web), "{lost:?}");
    assert!(!lost.iter().any(|name| name.contains("aside")), "{lost:?}");
    assert_eq!(
        versions(&index, "shop")[WEB],
        with_route[WEB],
        "it fails again"
    );
}

#[test]
fn rules_of_a_clients_namespace_are_for_clients_there_and_come_before_those_of_the_service() {
    let mut index = index(events(SERVICES));
    let (shop, other) = (versions(&index, "shop"), versions(&index, "other"));
    assert_eq!(shop, other);
    affected(
        &mut index,
        events(&route("other", "name: web, namespace: shop")),
    );
    assert_eq!(versions(&index, "shop"), shop);
    let consumers = versions(&index, "other");
    assert_ne!(consumers[WEB], other[WEB]);

    let snapshot = index.snapshot();
    let generator = Generator::default();
    let view = |namespace| generator.view(&snapshot, Kind::Route, WEB, &client(namespace));
    assert_eq!(view("shop"), View::Everyone);
    assert_eq!(view("third"), View::Everyone);
    assert_eq!(
        view("other"),
        View::Caller(Caller {
            namespace: "other".into(),
            ..Caller::default()
        })
    );

    let own = events(&route("shop", "name: web"));
    affected(&mut index, own);
    assert_ne!(versions(&index, "shop"), shop);
    assert_ne!(versions(&index, "third"), shop);
    assert_eq!(versions(&index, "other"), consumers);
}

#[test]
fn a_route_touches_no_listener_of_a_pod() {
    let mut index = index(events(SERVICES));
    let touched = affected(&mut index, events(&route("shop", "name: web")));
    let inbound =
        |(kind, name): &&(Kind, String)| *kind == Kind::Listener && name.contains("irtual");
    assert_eq!(touched.iter().find(inbound), None);
}
