use serde_json::Value;
use weir_api::annotations::STATUS;

use super::{report::Owner, *};
use crate::kubernetes::{events, fake::FakeApi};

fn configuration() -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
           "webhooks": [{
               "name": "namespace.weir.dev", "admissionReviewVersions": ["v1"],
               "clientConfig": {}, "sideEffects": "None",
               "namespaceSelector": {"matchLabels": {"weir.dev/injection": "enabled"}}}]})
}

fn pod(name: &str, more: &Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                     "name": format!("{name}-rs"), "uid": "u", "controller": true}]},
        "spec": {"containers": [{"name": "app"}]}});
    for (key, value) in more.as_object().expect("an object") {
        for (inner, value) in value.as_object().expect("an object") {
            pod[key][inner] = value.clone();
        }
    }
    pod
}

fn reconciler(api: &FakeApi) -> (Arc<Mutex<Report>>, Shared) {
    let shared = Shared::default();
    let (events, writer) = events::channel(api.client(), "", shared.metrics.clone());
    tokio::spawn(writer.run());
    let report = Arc::default();
    let reconciler = Reconciler {
        client: api.client(),
        configuration: "weir-injector".to_owned(),
        injector: Arc::new(Injector::new(weir_injector::Config::default())),
        namespaces: Arc::new(Namespaces::default()),
        shared: shared.clone(),
        events,
        report: Arc::clone(&report),
    };
    let known = Known {
        configuration: true,
        kubelets: true,
    };
    tokio::spawn(reconciler.run(watch::channel(known).1));
    (report, shared)
}

#[tokio::test(start_paused = true)]
async fn pods_that_should_have_a_sidecar_are_reported_and_no_others() {
    let api = FakeApi::new();
    api.put(
        "mutatingwebhookconfigurations/weir-injector",
        configuration(),
    );
    let enabled = json!({"metadata": {"labels": {"weir.dev/injection": "enabled"}}});
    api.put("namespaces/shop", enabled);
    api.put("namespaces/other", json!({"metadata": {}}));
    let sidecar = json!({"metadata": {"annotations": {STATUS: "{}"}},
                         "spec": {"containers": [{"name": "app"}, {"name": "weir-proxy"}]}});
    for (name, more) in [
        ("missed", json!({})),
        ("injected", sidecar),
        ("node", json!({"spec": {"hostNetwork": true}})),
        (
            "refuses",
            json!({"metadata": {"labels": {"weir.dev/inject": "false"}}}),
        ),
        ("done", json!({"status": {"phase": "Succeeded"}})),
        (
            "going",
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        ),
    ] {
        api.put(&format!("namespaces/shop/pods/{name}"), pod(name, &more));
    }
    api.put("namespaces/other/pods/plain", pod("plain", &json!({})));
    let (report, shared) = reconciler(&api);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let found = report.lock().expect("no panic").clone();
    assert!(found.complete && !found.truncated, "{found:?}");
    assert_eq!(found.total, 1);
    assert_eq!(
        found.pods,
        [Uninjected {
            namespace: "shop".to_owned(),
            name: "missed".to_owned(),
            owner: Some(Owner {
                kind: "ReplicaSet".to_owned(),
                name: "missed-rs".to_owned(),
            }),
            reason: "the policy is enabled".to_owned(),
        }]
    );
    let events = api.writes();
    assert_eq!(events.len(), 1);
    assert!(
        events[0].starts_with("POST events shop/missed."),
        "{events:?}"
    );
    let mut text = String::new();
    shared.metrics.write_prometheus(&mut text);
    assert!(
        text.contains("weir_uninjected_pods{namespace=\"shop\"} 1"),
        "{text}"
    );

    api.remove("namespaces/shop/pods/missed");
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(report.lock().expect("no panic").total, 0);
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_makes_the_report_incomplete_and_keeps_what_was_found() {
    let api = FakeApi::new();
    api.put(
        "mutatingwebhookconfigurations/weir-injector",
        configuration(),
    );
    let (report, _) = reconciler(&api);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(report.lock().expect("no panic").complete);
    api.fail(Some(("GET", 500)));
    tokio::time::sleep(INTERVAL).await;
    let found = report.lock().expect("no panic").clone();
    assert!(!found.complete && found.error.is_some(), "{found:?}");
}
