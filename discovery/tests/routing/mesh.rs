//! Manifests, and what clients of a namespace are told of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use weir_discovery::{
    manifests::Directory,
    model::{Changes, Event, Index, NamespacedName, Snapshot},
    rules,
    xds::{Client, Generator, Kind, Resource},
};
use weir_tests::envoy;

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn client(namespace: &str) -> Arc<Client> {
    Arc::new(Client {
        pod: Some(NamespacedName::new(namespace, "it")),
        ..Client::default()
    })
}

pub(crate) fn told(
    snapshot: &Snapshot,
    kind: Kind,
    name: &str,
    namespace: &str,
) -> Option<Resource> {
    let generator = Generator::default();
    let view = generator.view(snapshot, kind, name, &client(namespace));
    generator.resource_for(snapshot, kind, name, &view)
}

pub(crate) fn events(text: &str) -> Vec<Event> {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("it.yaml"), text).expect("written");
    let opened = Directory::open(directory.path(), rules::Settings::default());
    opened.expect("manifests").1
}

pub(crate) fn index(events: Vec<Event>) -> Index {
    let mut index = Index::default();
    events.into_iter().for_each(|event| index.apply(event));
    index.commit();
    index
}

/// What a step may change, as the hub is told.
pub(crate) fn affected(index: &mut Index, events: Vec<Event>) -> BTreeSet<(Kind, String)> {
    events.into_iter().for_each(|event| index.apply(event));
    let (snapshot, changes): (_, Changes) = index.commit().expect("a change");
    let generator = Generator::default();
    let affected = generator.affected(&snapshot, &changes);
    affected.into_keys().collect()
}

/// As part of a listener, for nothing else of a configuration is validated without a control plane.
pub(crate) fn envoy_takes(yaml: &str) {
    let mut routes: serde_json::Value = yaml_serde::from_str(yaml).expect("YAML");
    let routes_of = routes.as_object_mut().expect("a message");
    routes_of.remove("@type");
    // Where they come over a stream, clusters may be missing.
    routes_of.insert("validate_clusters".to_owned(), json!(false));
    let typed = |name: &str| json!({"@type": format!("type.googleapis.com/{name}")});
    let mut manager =
        typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager");
    manager["stat_prefix"] = json!("it");
    manager["route_config"] = routes;
    manager["http_filters"] = json!([
        {"name": "envoy.filters.http.fault", "typed_config": typed("envoy.extensions.filters.http.fault.v3.HTTPFault")},
        {"name": "envoy.filters.http.cors", "typed_config": typed("envoy.extensions.filters.http.cors.v3.Cors")},
        {"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router")},
    ]);
    let listener = json!({
        "name": "it",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        "filter_chains": [{"filters": [{"name": "it", "typed_config": manager}]}],
    });
    let bootstrap = json!({"static_resources": {"listeners": [listener]}});
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("it.json");
    fs::write(&path, bootstrap.to_string()).expect("written");
    envoy::accepts(&path).unwrap_or_else(|said| panic!("envoy refuses it: {said}\n{yaml}"));
}
