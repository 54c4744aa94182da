//! A call right after a pod has become ready works, although the control plane has not seen it yet;
//! one to a Service without pods is refused at once.

use std::fs;

use weir_tests::eventually::eventually;

use super::{
    demo::{Demos, text},
    mesh::mesh_works,
    pods::{PATIENCE, admin, answer, apply, status},
};

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
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{name: http, port: 80}, {name: tcp-feed, port: 9000}, {name: any, port: 7000}]
";

#[test]
fn a_service_of_which_no_endpoint_is_known_is_left_to_kube_proxy() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS)]);
    let _demo = demos.start_with_mesh(&manifests);
    let call = || status(&demos, "client", &["http://web/"]);
    let picks = || {
        let stats = admin(&demos, "client", "stats?filter=web.*lb_lower_priority");
        let count = stats.trim().rsplit(' ').next().unwrap_or_default();
        count.parse::<u32>().expect("a count")
    };
    assert_eq!((call().as_str(), picks()), ("200", 0));

    // The control plane is told that there is no endpoint; the node's rules stay as they are.
    let run = demos.run();
    let file = "endpointslice.default.web-0.yaml";
    let slice = fs::read_to_string(run.join("objects").join(file)).expect("the slice");
    let mut slice: serde_json::Value = serde_json::from_str(&slice).expect("JSON");
    slice["endpoints"] = serde_json::json!([]);
    apply(&run, file, &slice.to_string());
    let look = || {
        assert_eq!(call(), "200", "whatever is known of it");
        (picks() > 0).then_some(())
    };
    eventually(PATIENCE, look).expect("its own address is used");
}

#[test]
fn a_service_without_endpoints_is_refused_at_once_with_the_reason() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS)]);
    let _demo = demos.start_with_mesh(&manifests);
    // What is called first may be called before the control plane has said what it is.
    let known = || {
        let said = answer(
            &demos,
            "client",
            "%header{x-weir-reason}",
            &["http://nobody/"],
        );
        (said == "no_healthy_upstream").then_some(())
    };
    eventually(PATIENCE, known).expect("the reason");
    // The kernel tells of refusals by ICMP, and of fewer than these: some it leaves unanswered.
    for round in 0..10 {
        let format = "%{http_code} %header{x-weir-reason} %{time_total}";
        let said = answer(&demos, "client", format, &["http://nobody/"]);
        let parts: Vec<&str> = said.split(' ').collect();
        assert_eq!(
            parts[..2],
            ["503", "no_healthy_upstream"],
            "{round}: {said}"
        );
        let seconds: f64 = parts[2].parse().expect("seconds");
        assert!(seconds < 0.3, "{round}: {said}");
    }
    for port in [9000, 7000] {
        for _ in 0..5 {
            let script = format!(
                "exec 3<>/dev/tcp/nobody/{port} && s=${{EPOCHREALTIME/./}} && \
                 ! read -t 5 -u 3 && echo $((${{EPOCHREALTIME/./}} - s))"
            );
            let output = demos.output(&["exec", "client", "--", "bash", "-c", &script]);
            let said = &output.stdout;
            let micros: u64 = said
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("{}", text(&output)));
            assert!(micros < 300_000, "port {port}: {micros} us");
        }
    }
}
