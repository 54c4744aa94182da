//! Both sidecars of a call count it, each with who called whom.

use std::collections::BTreeMap;

use weir_tests::eventually::eventually;

use super::{
    demo::{Demos, text},
    mesh::mesh_works,
    pods::{self, PATIENCE},
};

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web, version: v2}}
spec:
  containers:
    - {name: web, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app.kubernetes.io/name: front}}
spec:
  containers:
    - {name: client, image: weir.dev/echo, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.77.7
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 81, targetPort: 8080}]
";

/// The labels of a series, and its value.
type Series = (BTreeMap<String, String>, u64);

/// The series of a metric of a pod.
fn series(demos: &Demos, pod: &str, metric: &str) -> Vec<Series> {
    let page = pods::curl(demos, pod, &["http://localhost:15020/stats/prometheus"]);
    let lines = page.lines();
    let start = format!("{metric}{{");
    let lines = lines.filter_map(|line| line.strip_prefix(&start)?.rsplit_once("} "));
    lines
        .map(|(labels, value)| {
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            let labels =
                labels.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
            (labels.collect(), value.parse().expect("a number"))
        })
        .collect()
}

/// What the series with these labels count together.
fn counted(demos: &Demos, (pod, metric): (&str, &str), labels: &[(&str, &str)]) -> u64 {
    let has = |known: &BTreeMap<_, _>, (name, value): &(&str, &str)| {
        known.get(*name).is_some_and(|it: &String| it == value)
    };
    let all = series(demos, pod, metric).into_iter();
    let fit = all.filter(|(known, _)| labels.iter().all(|label| has(known, label)));
    fit.map(|(_, counted)| counted).sum()
}

/// Waits until the series with these labels count so much.
fn expect(demos: &Demos, of: (&str, &str), labels: &[(&str, &str)], value: u64) {
    let look = || (counted(demos, of, labels) == value).then_some(());
    eventually(PATIENCE, look).unwrap_or_else(|error| {
        let (pod, metric) = of;
        panic!(
            "{of:?}: {value}: {error}: {:#?}",
            series(demos, pod, metric)
        );
    });
}

/// Series of a pod's metric with these labels.
type Look<'a> = (&'a str, &'a str, &'a Vec<(&'static str, &'static str)>);

/// Waits until calls are counted `value` times by each of these, beyond what the demo's own were.
fn more(demos: &Demos, looks: &[Look<'_>], value: u64, call: impl FnOnce()) {
    let before = looks.iter();
    let before = before.map(|(pod, metric, labels)| counted(demos, (pod, metric), labels));
    let before: Vec<u64> = before.collect();
    call();
    for ((pod, metric, labels), before) in looks.iter().zip(before) {
        expect(demos, (pod, metric), labels, before + value);
    }
}

fn call(demos: &Demos, from: &str, url: &str) {
    pods::curl(demos, from, &["-o", "/dev/null", url]);
}

#[test]
fn both_sidecars_of_a_call_count_it_with_who_called_whom() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS)]);
    let _demo = demos.start_with_mesh(&manifests);
    let both = [
        ("source_workload", "client"),
        ("source_workload_namespace", "default"),
        ("source_canonical_service", "front"),
        ("source_canonical_revision", "latest"),
        ("destination_workload", "web"),
        ("destination_workload_namespace", "default"),
        ("destination_app", "web"),
        ("destination_version", "v2"),
        ("destination_service", "web.default.svc.cluster.local"),
        ("destination_service_name", "web"),
        ("destination_service_namespace", "default"),
        ("response_flags", "-"),
    ];
    let of = |more: &[(&'static str, &'static str)]| [&both[..], more].concat();
    let principals = [
        (
            "source_principal",
            "spiffe://cluster.local/ns/default/sa/default",
        ),
        (
            "destination_principal",
            "spiffe://cluster.local/ns/default/sa/default",
        ),
    ];
    let secured = [
        ("reporter", "destination"),
        ("connection_security_policy", "mutual_tls"),
    ];
    let secured = [&secured[..], &principals].concat();
    let http = [("request_protocol", "http"), ("response_code", "200")];

    let source = of(&[&http[..], &principals, &[("reporter", "source")]].concat());
    let destination = of(&[&http[..], &secured].concat());
    let (requests, durations) = (
        "weir_requests_total",
        "weir_request_duration_milliseconds_count",
    );
    let looks = [
        ("client", requests, &source),
        ("client", durations, &source),
        ("web", requests, &destination),
    ];
    more(&demos, &looks, 2, || {
        call(&demos, "client", "http://10.96.77.7/");
        call(&demos, "client", "http://10.96.77.7/");
    });

    // The same for people and programs.
    let output = demos.output(&["graph", "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let edges: Vec<serde_json::Value> = serde_json::from_str(&output.stdout).expect("JSON");
    let is_ours = |edge: &&serde_json::Value| {
        edge["source"]["name"] == "client"
            && edge["destination"]["name"] == "web"
            && edge["protocol"] == "http"
    };
    let edge = edges.iter().find(is_ours).expect("an edge");
    assert_eq!(edge["mutual_tls"], 1.0, "{edge}");
    assert_eq!(edge["failed"], 0.0, "{edge}");

    // What a port's name says is TCP is counted as connections.
    let tcp = [("request_protocol", "tcp"), ("reporter", "source")];
    let tcp = of(&[&tcp[..], &principals].concat());
    let looks = ["opened", "closed"].map(|what| format!("weir_tcp_connections_{what}_total"));
    let looks = looks
        .each_ref()
        .map(|metric| ("client", metric.as_str(), &tcp));
    more(&demos, &looks, 1, || {
        call(&demos, "client", "http://10.96.77.7:81/");
    });

    // Who has no sidecar is known by its address all the same, where it is a pod's.
    let address = pods::address(&demos.run(), "web");
    let plain = vec![
        ("reporter", "destination"),
        ("source_workload", "outsider"),
        ("source_principal", "unknown"),
        ("connection_security_policy", "none"),
        ("destination_service_name", "web"),
    ];
    more(&demos, &[("web", requests, &plain)], 1, || {
        let url = format!("http://{address}:8080/");
        call(&demos, "weir-demo/outsider", &url);
    });
}
