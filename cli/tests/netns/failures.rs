//! `accessLog: errors` in a running mesh: a call that fails leaves a line with the sidecar of the caller, and
//! each of its attempts that arrives one with that of the pod; a good call leaves none.

use std::fs;

use serde_json::Value;
use weir_tests::eventually::eventually;

use super::{
    demo::{Demos, text},
    pods::{PATIENCE, status},
    routes::in_mesh,
};

/// Nothing listens where `down` leads.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: weir.dev/echo, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: client, image: weir.dev/echo, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: down}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8081, appProtocol: http}]}
";

/// What a pod's sidecar has logged of requests.
fn lines(demos: &Demos, pod: &str) -> Vec<Value> {
    let output = demos.output(&["logs", pod, "-c", "weir-proxy"]);
    assert!(output.status.success(), "{}", text(&output));
    let lines = output.stdout.lines().map(serde_json::from_str::<Value>);
    let lines = lines.filter_map(Result::ok);
    lines
        .filter(|line| line["response_flags"].is_string())
        .collect()
}

fn of_path<'l>(lines: &'l [Value], path: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["path"] == path).collect()
}

/// The lines of a pod, once it has written one of the last call.
fn lines_until(demos: &Demos, pod: &str, path: &str) -> Vec<Value> {
    let look = || Some(lines(demos, pod)).filter(|lines| !of_path(lines, path).is_empty());
    let found = eventually(PATIENCE, look);
    found.unwrap_or_else(|error| panic!("{pod}: {error}: {:#?}", lines(demos, pod)))
}

#[test]
fn a_failing_call_leaves_a_line_with_its_reason_and_a_good_one_none() {
    in_mesh(PODS, |mesh| {
        let demos = mesh.demos;
        let call = |url: &str| status(demos, "client", &[url]);
        // Without the setting there is none.
        assert_eq!(call("http://down/before"), "503");
        let settings = mesh.run.join("settings/mesh.yaml");
        fs::write(settings, "accessLog: errors\n").expect("write");
        for pod in ["client", "web"] {
            let look = || {
                call("http://down/awaited");
                (!of_path(&lines(demos, pod), "/awaited").is_empty()).then_some(())
            };
            let found = eventually(PATIENCE, look);
            found.unwrap_or_else(|error| panic!("{pod}: {error}"));
        }
        assert_eq!(call("http://down/fails"), "503");
        assert_eq!(call("http://web/good"), "200");
        assert_eq!(call("http://down/last"), "503");

        let [client, web] = ["client", "web"].map(|pod| lines_until(demos, pod, "/last"));
        for lines in [&client, &web] {
            assert!(of_path(lines, "/before").is_empty(), "{lines:#?}");
            assert!(of_path(lines, "/good").is_empty(), "{lines:#?}");
            for line in of_path(lines, "/fails") {
                assert_eq!(line["response_code"], 503, "{line:#}");
                let whole = line["duration"].as_u64().expect("a number");
                let read = line["request_duration"].as_u64().expect("a number");
                assert!(read <= whole, "{line:#}");
            }
        }
        // The client's sidecar got an answer, and says how long that took.
        let [line] = of_path(&client, "/fails")[..] else {
            panic!("not one line: {client:#?}");
        };
        let attempts = line["attempts"].as_u64().expect("a number");
        assert_eq!(
            line["upstream_cluster"],
            "outbound|80||down.default.svc.cluster.local"
        );
        for key in [
            "pool_ready_duration",
            "response_duration",
            "response_tx_duration",
        ] {
            assert!(line[key].is_u64(), "{key}: {line:#}");
        }
        // That of the pod has one of each attempt that came to it, and knows who called, and why it failed.
        let reached = of_path(&web, "/fails").len() as u64;
        assert!((1..=attempts).contains(&reached), "{web:#?}");
        let line = of_path(&web, "/fails")[0];
        assert_eq!(
            line["peer"], "spiffe://cluster.local/ns/default/sa/default",
            "{line:#}"
        );
        assert_eq!(line["response_flags"], "UF", "{line:#}");
        assert_eq!(line["attempts"], 1, "{line:#}");
        assert!(line["pool_ready_duration"].is_u64(), "{line:#}");
        assert!(line["response_duration"].is_null(), "{line:#}");
        let details = line["response_code_details"].as_str().expect("text");
        assert!(!details.is_empty() && details != "via_upstream", "{line:#}");
    });
}
