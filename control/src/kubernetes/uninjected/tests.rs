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
    reconciler_asking(api, 1)
}

/// One that asks sidecars at this port.
fn reconciler_asking(api: &FakeApi, port: u16) -> (Arc<Mutex<Report>>, Shared) {
    let (namespaces, reviewed) = (Arc::default(), Arc::default());
    let injector = Arc::new(Injector::new(weir_injector::Config::default()));
    start(api, port, injector, namespaces, reviewed)
}

fn start(
    api: &FakeApi,
    port: u16,
    injector: Arc<Injector>,
    namespaces: Arc<Namespaces>,
    reviewed: Arc<Reviewed>,
) -> (Arc<Mutex<Report>>, Shared) {
    let shared = Shared::default();
    let (events, writer) = events::channel(api.client(), "", shared.metrics.clone());
    tokio::spawn(writer.run());
    let report = Arc::default();
    let reconciler = Reconciler {
        client: api.client(),
        configuration: "weir-injector".to_owned(),
        injector,
        namespaces,
        reviewed,
        shared: shared.clone(),
        events,
        report: Arc::clone(&report),
        hub: Arc::new(Hub::new(weir_discovery::xds::Generator::default())),
        status_port: port,
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

/// A sidecar that says whether it ever was connected.
async fn sidecar(says: &'static str) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let body = format!("envoy_control_plane_ever_connected{{}} {says}\n");
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_sidecar_that_was_never_connected_is_said_at_its_pod() {
    for (says, expected) in [("0", 1), ("1", 0)] {
        let api = FakeApi::new();
        api.put(
            "mutatingwebhookconfigurations/weir-injector",
            configuration(),
        );
        let enabled = json!({"metadata": {"labels": {"weir.dev/injection": "enabled"}}});
        api.put("namespaces/shop", enabled);
        let address = sidecar(says).await;
        let status = json!([{"name": "weir-proxy",
                             "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]);
        let injected = json!({
            "metadata": {"annotations": {STATUS: "{}"}},
            "spec": {"containers": [{"name": "app"}, {"name": "weir-proxy"}]},
            "status": {"podIP": address.ip().to_string(), "containerStatuses": status},
        });
        api.put("namespaces/shop/pods/web", pod("web", &injected));
        let (report, shared) = reconciler_asking(&api, address.port());
        let scanned = async {
            while !report.lock().expect("no panic").complete {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let scanned = tokio::time::timeout(Duration::from_secs(20), scanned).await;
        scanned.expect("a look in time");
        assert_eq!(report.lock().expect("no panic").unconnected.len(), expected);
        let mut text = String::new();
        shared.metrics.write_prometheus(&mut text);
        let metric = format!("weir_unconnected_pods{{namespace=\"shop\"}} {expected}");
        assert_eq!(text.contains(&metric), expected > 0, "{text}");
    }
}

/// A review as anybody may send it.
fn forge(injector: &Injector, namespace: &str, pod: &Value) {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "operation": "CREATE", "namespace": namespace,
                    "kind": {"kind": "Pod"}, "object": pod}});
    let _ = injector.review(review.to_string().as_bytes());
}

#[tokio::test(start_paused = true)]
async fn what_people_are_told_follows_from_pods_and_never_from_a_review() {
    let api = FakeApi::new();
    let webhook = "mutatingwebhookconfigurations/weir-injector";
    api.put(webhook, configuration());
    let enabled = json!({"metadata": {"labels": {"weir.dev/injection": "enabled"}}});
    api.put("namespaces/shop", enabled);
    api.put("namespaces/plain", json!({"metadata": {}}));
    let (namespaces, reviewed) = (Arc::<Namespaces>::default(), Arc::<Reviewed>::default());
    tokio::spawn(namespaces.clone().watch(api.client()));
    let (known, told) = (namespaces.clone(), reviewed.clone());
    let injector = Injector::new(weir_injector::Config::default())
        .with_on_decision(move |decided| told.tell(&decided.namespace, &known));
    let injector = Arc::new(injector);
    start(&api, 1, injector.clone(), namespaces.clone(), reviewed);
    tokio::time::sleep(Duration::from_secs(1)).await;

    // The pod is not there, nor is one of the namespaces, nor may one be called like the last.
    let victim = json!({"metadata": {
        "name": "pwned", "annotations": {"weir.dev/attackers-text": ""}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "victim", "uid": "u-9",
             "controller": true}]}, "spec": {"containers": [{"name": "app"}]}});
    let asks = json!({"metadata": {"labels": {"weir.dev/inject": "true"}},
                      "spec": {"containers": [{"name": "app"}]}});
    for namespace in ["shop", "plain", "made-up", "kube-system/secrets/foo?x="] {
        forge(&injector, namespace, &victim);
        forge(&injector, namespace, &asks);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(api.writes(), Vec::<String>::new());
    assert_eq!(namespaces.with_sidecars(), ["shop"]);

    let now = Timestamp::now().to_string();
    let host = json!({"metadata": {"creationTimestamp": now, "generateName": "host-"},
                      "spec": {"hostNetwork": true}});
    api.put("namespaces/shop/pods/host-1", pod("host-1", &host));
    let misspelt = json!({
        "metadata": {"creationTimestamp": now,
                     "annotations": {STATUS: "{}", "weir.dev/proxy-cpus": "1"}},
        "spec": {"containers": [{"name": "app"}, {"name": "weir-proxy"}]}});
    api.put("namespaces/shop/pods/odd", pod("odd", &misspelt));
    let old = json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"},
                     "spec": {"hostNetwork": true}});
    api.put("namespaces/shop/pods/old", pod("old", &old));
    let refuses = json!({"metadata": {"creationTimestamp": now,
                         "labels": {"weir.dev/inject": "false"}}});
    api.put("namespaces/shop/pods/refuses", pod("refuses", &refuses));
    forge(&injector, "shop", &victim);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let writes = api.writes();
    let events: Vec<_> = writes
        .iter()
        .filter_map(|write| write.strip_prefix("POST events shop/"))
        .map(|name| {
            api.get(&format!("namespaces/shop/events/{name}"))
                .expect("there")
        })
        .collect();
    assert_eq!((events.len(), writes.len()), (2, 2), "{writes:?}");
    let [skipped, warned] = &events[..] else {
        panic!("two");
    };
    assert_eq!(skipped["reason"], "SidecarSkipped");
    assert_eq!(skipped["regarding"]["name"], "host-1-rs");
    let note = skipped["note"].as_str().expect("a note");
    assert!(
        note.contains("pod host-: not injected: the pod uses the node's network"),
        "{note}"
    );
    assert_eq!(warned["reason"], "SidecarWarning");
    let note = warned["note"].as_str().expect("a note");
    assert!(note.contains("weir.dev/proxy-cpus"), "{note}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_a_sidecar_makes_its_namespace_one_that_gets_root_certificates() {
    let api = FakeApi::new();
    let webhook = "mutatingwebhookconfigurations/weir-injector";
    api.put(webhook, configuration());
    api.put("namespaces/plain", json!({"metadata": {}}));
    let (namespaces, reviewed) = (Arc::<Namespaces>::default(), Arc::<Reviewed>::default());
    tokio::spawn(namespaces.clone().watch(api.client()));
    let injector = Arc::new(Injector::new(weir_injector::Config::default()));
    start(&api, 1, injector, namespaces.clone(), reviewed.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    reviewed.tell("plain", &namespaces);
    let sidecar = json!({"metadata": {"annotations": {STATUS: "{}"}},
                         "spec": {"containers": [{"name": "app"}, {"name": "weir-proxy"}]}});
    api.put("namespaces/plain/pods/web", pod("web", &sidecar));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(namespaces.with_sidecars(), ["plain"]);
}
