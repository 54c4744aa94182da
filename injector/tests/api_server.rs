//! Every injected pod of the golden files is one that a real API server takes.

use std::{fs, path::Path};

use serde_json::{Value, json};
use weir_tests::api_server::ApiServer;

/// The injected pods, with their files.
fn pods() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(directory).expect("golden directory");
    let mut pods = Vec::new();
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if !file.ends_with(".injected.yaml") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("case");
        let pod: Option<Value> = yaml_serde::from_str(&text).expect("yaml");
        pods.extend(pod.map(|pod| (file, pod)));
    }
    pods.sort_by(|(a, _), (b, _)| a.cmp(b));
    pods
}

/// What an API server would want of the cluster rather than of the pod.
fn without_surroundings(pod: &mut Value, name: &str) {
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    if !pod["metadata"].is_object() {
        pod["metadata"] = json!({});
    }
    pod["metadata"]["name"] = name.into();
    for member in ["namespace", "ownerReferences"] {
        pod["metadata"]
            .as_object_mut()
            .map(|map| map.remove(member));
    }
    for member in ["serviceAccountName", "priorityClassName"] {
        pod["spec"].as_object_mut().map(|map| map.remove(member));
    }
}

/// What the API server says of each pod it refuses in a namespace with these labels.
fn refusals(server: &ApiServer, labels: &[&str], pods: Vec<(String, Value)>) -> Vec<String> {
    let namespace = server.namespace(labels).expect("a namespace");
    let create = [
        "create",
        "--dry-run=server",
        "--validate=ignore",
        "-f",
        "-",
        "-n",
    ];
    let create = [&create[..], &[namespace.name()]].concat();
    let refused = pods.into_iter().filter_map(|(file, mut pod)| {
        without_surroundings(&mut pod, file.trim_end_matches(".yaml"));
        let made = server.kubectl_with(&create, &pod.to_string());
        made.err().map(|error| format!("{file}: {error:#}"))
    });
    refused.collect()
}

#[test]
fn kubernetes_takes_every_injected_pod() {
    let Some(server) = ApiServer::shared() else {
        return;
    };
    let refused = refusals(server, &[], pods());
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn pod_security_refuses_the_init_container_and_not_the_sidecar() {
    let Some(server) = ApiServer::shared() else {
        return;
    };
    let level = ["pod-security.kubernetes.io/enforce=restricted"];
    let chosen = |file: &str| {
        let mut pods = pods();
        pods.retain(|(name, _)| name == file);
        assert_eq!(pods.len(), 1);
        pods
    };
    let captured = chosen("pod-security-restricted.injected.yaml");
    let refused = refusals(server, &level, captured);
    assert!(refused[0].contains("NET_ADMIN"), "{refused:?}");
    let uncaptured = chosen("pod-security-capture-none.injected.yaml");
    assert_eq!(refusals(server, &level, uncaptured), Vec::<String>::new());
}
