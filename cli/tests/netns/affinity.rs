//! `sessionAffinity: ClientIP`: all calls of one pod to a Service go to one pod, by every port and
//! protocol of it.

use std::collections::BTreeSet;

use super::{
    demo::{Demos, text},
    mesh::mesh_works,
};

/// Three pods behind a Service, and some that call it.
fn manifests() -> String {
    let pod = |name: &str, app: &str| {
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}}}}}
spec:
  containers:
    - name: echo
      image: weir.dev/echo
      args: [--auto, '8080', --tcp, '9000']
      ports: [{{containerPort: 8080}}, {{containerPort: 9000}}]
---"
        )
    };
    let mut all = String::new();
    for number in 0..3 {
        all += &pod(&format!("web-{number}"), "web");
        all += &pod(&format!("client-{number}"), "client");
    }
    all + "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  sessionAffinity: ClientIP
  ports:
    - {name: http, port: 80, targetPort: 8080}
    - {name: tcp-feed, port: 9000, targetPort: 9000}
    - {name: any, port: 7000, targetPort: 8080}
"
}

#[test]
fn all_calls_of_a_pod_go_to_one_pod() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", &manifests())]);
    let _demo = demos.start_with_mesh(&manifests);
    let ask = |client: &str, words: &[&str]| {
        let output = demos.output(&[&["exec", client, "--"], words].concat());
        assert!(output.status.success(), "{}", text(&output));
        output.stdout
    };
    let pod = ["curl", "-s", "-o", "/dev/null", "-w", "%header{x-echo-pod}"];
    let tcp = "exec 3<>/dev/tcp/web/9000 && echo who >&3 && head -n1 <&3";
    let mut ways: Vec<Vec<&str>> = vec![
        [&pod[..], &["http://web/"]].concat(),
        [&pod[..], &["http://web:7000/"]].concat(),
        [&pod[..], &["--http2-prior-knowledge", "http://web/"]].concat(),
    ];
    ways.push(vec!["bash", "-c", tcp]);
    for client in ["client-0", "client-1", "client-2"] {
        let mut answered = BTreeSet::new();
        for _ in 0..4 {
            for way in &ways {
                let answer = ask(client, way);
                let name = match serde_json::from_str::<serde_json::Value>(&answer) {
                    Ok(said) => said["pod"].as_str().unwrap_or_default().to_owned(),
                    Err(_) => answer.trim().to_owned(),
                };
                assert!(name.starts_with("web-"), "{way:?}: {answer}");
                answered.insert(name);
            }
        }
        assert_eq!(answered.len(), 1, "{client}: {answered:?}");
    }
}
