//! The demo with the mesh, all programs real. They are there when the whole workspace is tested.

use std::{io::Write, path::Path};

use serde_json::Value;

use super::demo::{Demos, namespaces_work, text};

#[test]
fn every_call_of_the_demo_does_what_it_should() {
    let test = "every_call_of_the_demo_does_what_it_should";
    if !namespaces_work(test) {
        return;
    }
    let beside = |name: &str| Path::new(env!("CARGO_BIN_EXE_weir")).with_file_name(name);
    for program in ["weir-agent", "weir-control"] {
        if !beside(program).is_file() {
            let _ = writeln!(
                std::io::stderr(),
                "SKIP: {test} needs {program} to be built"
            );
            return;
        }
    }
    let demos = Demos::new();
    let output = demos.output(&["demo", "--once", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("json");
    let calls = report["calls"].as_array().expect("calls");
    assert!(calls.len() > 15, "{}", calls.len());
    demos.assert_gone(&[]);
}
