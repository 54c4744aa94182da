//! One injection, one answered review and one validation of a pod of about 10 KiB, with what they
//! allocate.

use divan::{AllocProfiler, Bencher, black_box};
use serde_json::{Value, json};
use weir_injector::{Config, inject, review, uninject, webhook::Injector};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// What the pod's JSON has at least, in bytes.
const SIZE: usize = 10 * 1024;

fn main() {
    divan::main();
}

/// A pod with as many containers and variables as make it large.
fn pod() -> Value {
    let variable = |n: usize| json!({"name": format!("SETTING_{n}"), "value": "x".repeat(40)});
    let container = |n: usize| {
        json!({
            "name": format!("app-{n}"),
            "image": "registry.example/team/app:1.2.3",
            "ports": [{"name": format!("http-{n}"), "containerPort": 8080 + n}],
            "env": (0..20).map(variable).collect::<Vec<_>>(),
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080 + n}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        })
    };
    let mut containers = Vec::new();
    loop {
        containers.push(container(containers.len()));
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": "web-5d9c8-",
                "labels": {"app": "web", "pod-template-hash": "5d9c8"},
                "annotations": {"weir.dev/exclude-outbound-ports": "3306,5432"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                                     "name": "web-5d9c8", "uid": "u", "controller": true}],
            },
            "spec": {"containers": containers, "volumes": [{"name": "data", "emptyDir": {}}]},
        });
        if pod.to_string().len() >= SIZE {
            return pod;
        }
    }
}

fn admission_review(kind: &str, group: &str, object: &Value) -> Vec<u8> {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": "CREATE", "namespace": "shop",
        "kind": {"group": group, "version": "v1", "kind": kind}, "object": object,
    }});
    review.to_string().into_bytes()
}

#[divan::bench]
fn injection(bencher: Bencher<'_, '_>) {
    let (pod, config) = (pod(), Config::default());
    bencher.bench(|| inject(black_box(&pod), "shop", &config));
}

#[divan::bench]
fn second_injection(bencher: Bencher<'_, '_>) {
    let config = Config::default();
    let injected = inject(&pod(), "shop", &config).expect("injectable").pod;
    let injected = injected.expect("injected");
    bencher.bench(|| inject(black_box(&injected), "shop", &config));
}

#[divan::bench]
fn uninjection(bencher: Bencher<'_, '_>) {
    let injected = inject(&pod(), "shop", &Config::default()).expect("injectable");
    let injected = injected.pod.expect("injected");
    bencher.bench(|| uninject(black_box(&injected)));
}

/// From the bytes of the request to those of the answer.
#[divan::bench]
fn review_of_a_pod(bencher: Bencher<'_, '_>) {
    let (body, config) = (admission_review("Pod", "", &pod()), Config::default());
    bencher
        .bench(|| review(black_box(&body), &config).map(|reviewed| reviewed.response.to_string()));
}

#[divan::bench]
fn validation_of_a_deployment(bencher: Bencher<'_, '_>) {
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"template": pod()}});
    let body = admission_review("Deployment", "apps", &deployment);
    let injector = Injector::new(Config::default());
    bencher.bench(|| {
        injector
            .validate(black_box(&body))
            .map(|answer| answer.to_string())
    });
}
