//! The demo with the mesh, all programs real. They are there when the whole workspace is tested.

use std::{io::Write, path::Path};

use serde_json::Value;

use super::{
    demo::{Demos, namespaces_work, text},
    foreign::TUTORIAL,
};

/// Whether namespaces work and the mesh's programs have been built; says so where not.
pub(crate) fn mesh_works() -> bool {
    if !namespaces_work() {
        return false;
    }
    for program in ["weir-agent", "weir-control"] {
        let beside = Path::new(env!("CARGO_BIN_EXE_weir")).with_file_name(program);
        if !beside.is_file() {
            // Not something a machine lacks: `cargo test --workspace` builds them.
            let _ = writeln!(std::io::stderr(), "SKIP: {program} is not built");
            return false;
        }
    }
    true
}

/// Runs a demo to its end and returns its calls.
fn calls_of(demos: &Demos, args: &[&str]) -> Vec<Value> {
    let output = demos.output(&[&["demo", "--once", "--json"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let mut report: Value = serde_json::from_str(&output.stdout).expect("json");
    demos.assert_gone(&[]);
    report["calls"]
        .as_array_mut()
        .map(std::mem::take)
        .expect("calls")
}

#[test]
fn every_call_of_the_demo_does_what_it_should() {
    if !mesh_works() {
        return;
    }
    let calls = calls_of(&Demos::new(), &[]);
    assert!(calls.len() > 15, "{}", calls.len());
    // Between pods with sidecars, by whatever protocol; not with anybody else.
    let mut mutual = 0;
    for call in &calls {
        let cluster = call.pointer("/record/cluster").and_then(Value::as_str);
        let endpoint = call.pointer("/endpoint").and_then(Value::as_str);
        let [Some(cluster), Some(from)] = [cluster, call["from"].as_str()] else {
            continue;
        };
        // Of the namespace `legacy` no pod has a sidecar.
        let expected = cluster.starts_with("outbound|")
            && from.starts_with("shop/")
            && endpoint.is_some_and(|_| !cluster.contains(".legacy."));
        assert_eq!(call["mutual_tls"], expected, "{call:#}");
        mutual += usize::from(expected);
    }
    assert!(mutual > 8, "{mutual} calls by mutual TLS");
}

#[test]
fn a_tutorial_works_in_the_mesh() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("tutorial.yaml", TUTORIAL)]);
    let calls = calls_of(&demos, &["--manifests", manifests.to_str().expect("path")]);
    let clusters: Vec<_> = calls
        .iter()
        .filter_map(|call| call.pointer("/record/cluster")?.as_str())
        .collect();
    assert!(
        clusters.contains(&"outbound|80||web.default.svc.cluster.local"),
        "{clusters:?}"
    );
}
