//! The API server that other tests run against does what they lean on.

use std::{io::Error, net::TcpListener, thread, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use weir_tests::{
    api_server::{ApiServer, Place},
    eventually::eventually,
};

/// A Deployment of one pod.
fn deployment(namespace: &str) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web"}]},
        }},
    })
    .to_string()
}

#[test]
fn a_deployment_makes_pods_that_run_when_told_to() -> Result<()> {
    let Some(api) = ApiServer::shared() else {
        return Ok(());
    };
    if !api.has_controllers() {
        return Ok(());
    }
    let namespace = api.namespace(&["weir.dev/injection=disabled"])?;
    api.apply(&deployment(namespace.name()))?;
    let pod = eventually(Duration::from_secs(60), || {
        let names = api
            .kubectl(&["get", "pods", "-n", namespace.name(), "-o", "name"])
            .ok()?;
        Some(names.trim().strip_prefix("pod/")?.to_owned())
    });
    let pod = pod?;
    api.run_pod(namespace.name(), &pod, "10.244.0.9")?;
    let object = api.get(namespace.name(), "pod", &pod)?;
    assert_eq!(object.pointer("/status/podIP"), Some(&json!("10.244.0.9")));
    Ok(())
}

#[test]
fn a_service_account_may_do_what_rbac_says() -> Result<()> {
    let Some(api) = ApiServer::shared() else {
        return Ok(());
    };
    let namespace = api.namespace(&[])?;
    api.kubectl(&["create", "serviceaccount", "reader", "-n", namespace.name()])?;
    let config = api.kubeconfig_of(namespace.name(), "reader")?;
    let config = format!("--kubeconfig={}", config.display());
    let pods = ["get", "pods", "-n", namespace.name(), &config];
    let refused = api.kubectl(&pods).expect_err("not allowed yet").to_string();
    assert!(refused.contains("forbidden"), "{refused}");
    let binding = [
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        "-n",
        namespace.name(),
    ];
    let subject = format!("--serviceaccount={}:reader", namespace.name());
    api.kubectl(&[&binding[..], &[&subject]].concat())?;
    eventually(Duration::from_secs(10), || api.kubectl(&pods).ok())?;
    Ok(())
}

#[test]
fn a_node_says_which_kubelet_it_runs() -> Result<()> {
    let Some(api) = ApiServer::start(Place::Machine) else {
        return Ok(());
    };
    let labels = json!({"topology.kubernetes.io/zone": "a"});
    api.create_node("old", "v1.28.4", &labels)?;
    let node = api.get("", "node", "old")?;
    let version = node.pointer("/status/nodeInfo/kubeletVersion");
    assert_eq!(version.and_then(Value::as_str), Some("v1.28.4"));
    Ok(())
}

#[test]
fn an_api_server_in_a_namespace_calls_webhooks_behind_a_service() -> Result<()> {
    let Some(api) = ApiServer::start(Place::Namespace) else {
        return Ok(());
    };
    let namespace = api.namespace(&[])?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "hook", "namespace": namespace.name()},
        "spec": {"ports": [{"port": 443}]},
    });
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hook"},
        "webhooks": [{
            "name": "hook.weir.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": {"name": "hook", "namespace": namespace.name()}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        }],
    });
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [service, webhook]});
    api.apply(&both.to_string())?;
    // The port is nobody's yet, so that the API server says what it dialled.
    api.serve_service(namespace.name(), "hook", 443, 15999)?;
    let create = ["create", "configmap", "one", "-n", namespace.name()];
    let refused = api.kubectl(&create).expect_err("no webhook there");
    assert!(
        refused.to_string().contains("connection refused"),
        "{refused}"
    );
    let listening = api
        .netns()
        .expect("asked for one")
        .run(|| TcpListener::bind("127.0.0.1:15999"))?;
    let caller = thread::spawn(move || Ok::<_, Error>(listening.accept()?.1));
    api.kubectl(&create).expect_err("nobody there speaks TLS");
    caller.join().expect("accepts")?;
    Ok(())
}
