//! A call right after a pod has become ready works, although the control plane has not seen it yet.

use std::{fs, time::Duration};

use weir_tests::eventually::eventually;

use super::{
    demo::{Demos, text},
    mesh::mesh_works,
};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - {name: web, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
    - {name: client, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
";

fn curl(demos: &Demos, args: &[&str]) -> String {
    let output = demos.output(&[&["exec", "client", "--", "curl", "-s"], args].concat());
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_service_of_which_no_endpoint_is_known_is_left_to_kube_proxy() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS)]);
    let _demo = demos.start_with_mesh(&manifests);
    let call = || {
        curl(
            &demos,
            &["-o", "/dev/null", "-w", "%{http_code}", "http://web/"],
        )
    };
    let picks = || {
        let stats = curl(
            &demos,
            &["127.0.0.1:15000/stats?filter=web.*lb_lower_priority"],
        );
        let count = stats.trim().rsplit(' ').next().unwrap_or_default();
        count.parse::<u32>().expect("a count")
    };
    assert_eq!((call().as_str(), picks()), ("200", 0));

    // The control plane is told that there is no endpoint; the node's rules stay as they are.
    let run = demos.run();
    let path = run.join("objects/endpointslice.default.web-0.yaml");
    let slice = fs::read_to_string(&path).expect("the slice");
    let mut slice: serde_json::Value = serde_json::from_str(&slice).expect("JSON");
    slice["endpoints"] = serde_json::json!([]);
    fs::write(run.join("slice.yaml"), slice.to_string()).expect("write");
    fs::rename(run.join("slice.yaml"), &path).expect("rename");
    let look = || {
        assert_eq!(call(), "200", "whatever is known of it");
        (picks() > 0).then_some(())
    };
    eventually(PATIENCE, look).expect("its own address is used");
}
