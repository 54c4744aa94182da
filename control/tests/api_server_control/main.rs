//! The control plane beside a real API server: pods are injected, what it keeps is kept right, and
//! a rotation of certificates fails no admission.

use std::{
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use rcgen::SanType;
use serde_json::{Value, json};
use tonic::Code;
use weir_process::command::execute;
use weir_tests::{
    api_server::{ApiServer, Place},
    eventually::eventually,
};

mod process;
mod strangers;

use process::{Control, OWN, PATIENCE, webhook};

/// An API server takes half a gigabyte, so one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Namespace of an application.
const SHOP: &str = "shop";

const CONFIGURATION: [&str; 2] = ["mutatingwebhookconfiguration", "weir-injector"];

fn deployment(namespace: &str, name: &str, spec: &Value) -> String {
    let mut pod = json!({"containers": [{"name": "app", "image": "app"}]});
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod[key] = value.clone();
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": pod,
        }},
    })
    .to_string()
}

/// Waits for both pods of a Deployment.
fn pods(api: &ApiServer, namespace: &str, name: &str) -> Result<Vec<Value>> {
    let app = format!("app={name}");
    eventually(PATIENCE, || {
        let list = api.kubectl(&["get", "pods", "-n", namespace, "-l", &app, "-o", "json"]);
        let list: Value = serde_json::from_str(&list.ok()?).ok()?;
        let items = list["items"].as_array()?.clone();
        (items.len() == 2).then_some(items)
    })
}

fn is_injected(pod: &Value) -> bool {
    let containers = pod["spec"]["initContainers"].as_array();
    containers.is_some_and(|all| all.iter().any(|it| it["name"] == "weir-proxy"))
}

/// The bundle of the webhook configuration, as base64.
fn ca_bundle(api: &ApiServer) -> Result<String> {
    let object = api.get("", CONFIGURATION[0], CONFIGURATION[1])?;
    let bundle = object["webhooks"][0]["clientConfig"]["caBundle"].as_str();
    Ok(bundle.unwrap_or_default().to_owned())
}

#[test]
fn pods_are_injected_and_what_is_kept_is_kept_right() -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut api) = ApiServer::start(Place::Machine) else {
        return Ok(());
    };
    if !api.has_controllers() {
        return Ok(());
    }
    api.kubectl(&["create", "namespace", OWN])?;
    api.kubectl(&["create", "namespace", SHOP])?;
    api.apply(&deployment(SHOP, "early", &json!({})))?;
    pods(&api, SHOP, "early")?;
    let control = Control::start(&api, "weir-control-0", &[])?;
    control.await_ready()?;

    // The caBundle comes with the configuration, root certificates with the label.
    api.apply(&webhook(&control.webhook_url()?))?;
    let bundle = eventually(PATIENCE, || {
        ca_bundle(&api).ok().filter(|it| !it.is_empty())
    })?;
    api.kubectl(&["label", "namespace", SHOP, "weir.dev/injection=enabled"])?;
    let root = || {
        let object = api.get(SHOP, "configmap", "weir-ca-root-cert").ok()?;
        object["data"]["root-cert.pem"].as_str().map(str::to_owned)
    };
    let pem = eventually(PATIENCE, root)?;
    ensure!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");

    api.apply(&deployment(SHOP, "web", &json!({})))?;
    let injected = pods(&api, SHOP, "web")?;
    ensure!(injected.iter().all(is_injected), "{}", control.log());

    drift_is_repaired(&api, &control, SHOP, &bundle, &pem)?;
    people_are_told(&api, &control, SHOP)?;
    configuration_is_reloaded(&api, &control, SHOP)?;
    tokens_are_checked(&api, &control, SHOP)?;
    strangers::with_tokens_keep_nobody_waiting(&api, &control, SHOP)?;
    strangers::are_not_believed(&api, &control, SHOP)?;
    certificates_are_of_the_tokens_account(&api, &control, SHOP)?;
    // Watches are opened anew after the API server was away.
    api.restart()?;
    drift_is_repaired(&api, &control, SHOP, &bundle, &pem)?;

    // Without an API server the control plane goes on, and it stops when asked to.
    drop(api);
    let (status, body) = control.get("/ready")?;
    ensure!(status == 200, "{body}");
    ensure!(control.stop()? == Some(0));
    Ok(())
}

fn drift_is_repaired(
    api: &ApiServer,
    control: &Control,
    namespace: &str,
    bundle: &str,
    pem: &str,
) -> Result<()> {
    let junk = r#"[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="}]"#;
    let [kind, name] = CONFIGURATION;
    // The API server judges a bundle; what is empty it takes.
    let empty = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
    for patch in [empty, junk] {
        if api
            .kubectl(&["patch", kind, name, "--type=json", "-p", patch])
            .is_err()
        {
            continue;
        }
        eventually(PATIENCE, || (ca_bundle(api).ok()? == bundle).then_some(()))?;
    }
    ensure!(control.metric("weir_ca_bundle_repairs_total")? >= 2.0);
    let config_map = ["configmap", "weir-ca-root-cert", "-n", namespace];
    let patch = [
        "--type=merge",
        "-p",
        r#"{"data": {"root-cert.pem": "junk"}}"#,
    ];
    api.kubectl(&[&["patch"][..], &config_map, &patch].concat())?;
    let is_right = || {
        let object = api.get(namespace, "configmap", "weir-ca-root-cert").ok()?;
        (object["data"]["root-cert.pem"] == pem).then_some(())
    };
    eventually(PATIENCE, is_right)?;
    api.kubectl(&[&["delete"][..], &config_map].concat())?;
    eventually(PATIENCE, is_right)
}

fn people_are_told(api: &ApiServer, control: &Control, namespace: &str) -> Result<()> {
    // Those made before the namespace was labelled.
    let report = eventually(PATIENCE, || {
        let report = control.json("/debug/uninjectedz").ok()?;
        (report["total"] == 2).then_some(report)
    });
    let report = report.with_context(|| control.log())?;
    ensure!(
        report["pods"][0]["owner"]["kind"] == "ReplicaSet",
        "{report}"
    );
    let metric = format!("weir_uninjected_pods{{namespace=\"{namespace}\"}}");
    ensure!(control.metric(&metric)? == 2.0);

    let spec = json!({"hostNetwork": true});
    api.apply(&deployment(namespace, "host", &spec))?;
    eventually(PATIENCE, || {
        let events = api
            .kubectl(&["get", "events", "-n", namespace, "-o", "wide"])
            .ok()?;
        let told = |reason, object| {
            let mut lines = events.lines();
            lines.any(|line| line.contains(reason) && line.contains(object))
        };
        (told("SidecarSkipped", "replicaset/host") && told("SidecarMissing", "pod/early"))
            .then_some(())
    })
    .with_context(|| control.log())
}

fn configuration_is_reloaded(api: &ApiServer, control: &Control, namespace: &str) -> Result<()> {
    let config = |text: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
               "metadata": {"name": "weir-config", "namespace": OWN},
               "data": {"injector.yaml": text}})
        .to_string()
    };
    api.apply(&config("policy: disabled"))?;
    eventually(PATIENCE, || {
        let reloads = control.metric("weir_config_reloads_total").ok()?;
        (reloads >= 2.0).then_some(())
    })?;
    api.apply(&deployment(namespace, "later", &json!({})))?;
    let later = pods(api, namespace, "later")?;
    ensure!(!later.iter().any(is_injected));

    api.apply(&config("polciy: enabled"))?;
    eventually(PATIENCE, || {
        let in_force = control.metric("weir_config_in_force").ok()?;
        (in_force == 0.0).then_some(())
    })?;
    let event = eventually(PATIENCE, || {
        let events = api.kubectl(&["get", "events", "-n", OWN]).ok()?;
        let mut lines = events.lines();
        let line = lines.find(|line| line.contains("ConfigurationRefused"));
        line.map(str::to_owned)
    })?;
    ensure!(event.contains("polciy"), "{event}");
    let (status, _) = control.get("/ready")?;
    ensure!(status == 200);
    Ok(())
}

fn tokens_are_checked(api: &ApiServer, control: &Control, namespace: &str) -> Result<()> {
    const UNAUTHENTICATED: &str = "grpc-status: 16";
    let root = api.get(namespace, "configmap", "weir-ca-root-cert")?;
    let file = api.dir().join("root-cert.pem");
    std::fs::write(
        &file,
        root["data"]["root-cert.pem"].as_str().unwrap_or_default(),
    )?;
    let ours = api.token(namespace, "default", Some("weir-ca"))?;
    let of_the_api = api.token(namespace, "default", None)?;
    for (token, expected) in [(ours.as_str(), false), (&of_the_api, true), ("junk", true)] {
        let headers = control.open_stream(&file, token)?;
        ensure!(headers.contains("grpc-status: "), "{headers}");
        ensure!(headers.contains(UNAUTHENTICATED) == expected, "{headers}");
    }
    // The others say themselves that they are no good, and are not asked about.
    ensure!(control.metric("weir_token_reviews_total")? == 1.0);
    Ok(())
}

fn certificates_are_of_the_tokens_account(
    api: &ApiServer,
    control: &Control,
    namespace: &str,
) -> Result<()> {
    // As the kubelet makes it for a pod, which is gone a moment later.
    let pod = pods(api, namespace, "web")?.remove(0);
    let pod = pod["metadata"]["name"].as_str().context("a name")?;
    let bound = ["--bound-object-kind=Pod", "--bound-object-name", pod];
    let token = [
        "create",
        "token",
        "default",
        "-n",
        namespace,
        "--audience=weir-ca",
    ];
    let bound = || api.kubectl(&[&token[..], &bound].concat());
    let (of_the_pod, of_the_gone) = (bound()?, bound()?);
    let id = |namespace: &str| format!("spiffe://cluster.local/ns/{namespace}/sa/default");
    let (own, none) = (csr(&[&id(namespace)])?, csr(&[])?);
    let elsewhere = api.token(OWN, "default", Some("weir-ca"))?;
    let of_the_api = api.token(namespace, "default", None)?;
    let root = api.dir().join("root-cert.pem");
    for (token, csr, expected) in [
        (of_the_pod.trim(), &own, Ok(id(namespace))),
        (of_the_pod.trim(), &none, Ok(id(namespace))),
        (&elsewhere, &none, Ok(id(OWN))),
        (
            &elsewhere,
            &own,
            Err((Code::PermissionDenied, "use the token of that")),
        ),
        (
            &of_the_api,
            &own,
            Err((Code::Unauthenticated, "token is refused")),
        ),
        (
            "junk",
            &own,
            Err((Code::Unauthenticated, "token is refused")),
        ),
    ] {
        let answer = control.certificate(&root, token, csr)?;
        match (answer, expected) {
            (Ok(chain), Ok(id)) => is_certificate_of(&chain, &id, api)?,
            (Err(status), Err((code, words))) => ensure!(
                status.code() == code && status.message().contains(words),
                "{status}"
            ),
            (answer, expected) => bail!("{answer:?} instead of {expected:?}"),
        }
    }
    api.kubectl(&["delete", "pod", pod, "-n", namespace, "--now"])?;
    let gone = || api.kubectl(&["get", "pod", pod, "-n", namespace]).err();
    eventually(PATIENCE, gone)?;
    let answer = control.certificate(&root, of_the_gone.trim(), &own)?;
    let refused = answer.err().context("a deleted pod got a certificate")?;
    ensure!(refused.code() == Code::Unauthenticated, "{refused}");
    ensure!(control.metric("weir_workload_certs_issued_total")? == 3.0);
    let unauthenticated = "weir_workload_certs_refused_total{reason=\"unauthenticated\"}";
    ensure!(control.metric(unauthenticated)? == 3.0);
    Ok(())
}

fn csr(names: &[&str]) -> Result<String> {
    let mut params = rcgen::CertificateParams::default();
    for name in names {
        let name = SanType::URI((*name).try_into()?);
        params.subject_alt_names.push(name);
    }
    let key = rcgen::KeyPair::generate()?;
    Ok(params.serialize_request(&key)?.pem()?)
}

/// OpenSSL finds that name in the certificate, and accepts it by the root that pods are given.
fn is_certificate_of(chain: &[String], id: &str, api: &ApiServer) -> Result<()> {
    let leaf = api.dir().join("leaf.pem");
    std::fs::write(&leaf, &chain[0])?;
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-purpose", "sslclient", "-CAfile"]);
    verify.arg(api.dir().join("root-cert.pem")).arg(&leaf);
    execute(&mut verify, "", PATIENCE)?;
    let mut show = Command::new("openssl");
    show.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]);
    let shown = execute(show.arg(&leaf), "", PATIENCE)?;
    ensure!(shown.trim_end().ends_with(&format!("URI:{id}")), "{shown}");
    Ok(())
}

#[test]
fn a_rotation_under_load_fails_no_admission() -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(api) = ApiServer::start(Place::Machine) else {
        return Ok(());
    };
    api.kubectl(&["create", "namespace", OWN])?;
    // Certificates of seconds, so that every phase comes by.
    let lives = [
        ["--ca-life", "10m"],
        ["--serving-cert-life", "40s"],
        ["--workload-cert-life", "40s"],
    ];
    let lives = lives.as_flattened();
    let first = Control::start(&api, "weir-control-0", lives)?;
    let second = Control::start(&api, "weir-control-1", lives)?;
    first.await_ready()?;
    second.await_ready()?;
    api.apply(&webhook(&first.webhook_url()?))?;
    eventually(PATIENCE, || {
        ca_bundle(&api).ok().filter(|it| !it.is_empty())
    })?;
    let shop = api.namespace(&["weir.dev/injection=enabled"])?;
    let secret = || api.get(OWN, "secret", "weir-ca");
    let old = secret()?["data"]["ca.crt"].clone();

    let (stop, admitted) = (AtomicBool::new(false), AtomicU64::new(0));
    let failed = thread::scope(|scope| {
        let load = scope.spawn(|| load(&api, shop.name(), &stop, &admitted));
        let rotated = rotate(&api, &old);
        stop.store(true, Ordering::Relaxed);
        let failed = load.join().expect("no panic");
        rotated.map(|()| failed)
    });
    let failed = failed.with_context(|| format!("{}\n{}", first.log(), second.log()))??;
    ensure!(failed.is_empty(), "{failed:?}\n{}", first.log());
    let admitted = admitted.load(Ordering::Relaxed);
    ensure!(admitted > 100, "{admitted} admissions");
    for control in [&first, &second] {
        let (status, body) = control.get("/ready")?;
        ensure!(status == 200, "{body}");
        let left = control.metric("weir_serving_cert_expiry_seconds")?;
        ensure!(left > 0.0 && left <= 40.0, "{left}");
    }
    Ok(())
}

/// Has the CA replaced, and waits until the old one is trusted no more.
fn rotate(api: &ApiServer, old: &Value) -> Result<()> {
    let secret = || api.get(OWN, "secret", "weir-ca").ok();
    api.kubectl(&[
        "annotate",
        "secret",
        "weir-ca",
        "-n",
        OWN,
        "weir.dev/rotate=ca",
    ])?;
    eventually(PATIENCE, || {
        (secret()?["data"]["ca.crt"] != *old).then_some(())
    })?;
    let promoted = secret().context("the Secret")?;
    ensure!(promoted["data"]["ca-previous.crt"] == *old, "{promoted}");
    eventually(PATIENCE, || {
        secret()?["data"]
            .get("ca-previous.crt")
            .is_none()
            .then_some(())
    })?;
    // Then one more of the usual renewals.
    let serving = secret().context("the Secret")?["data"]["tls.crt"].clone();
    eventually(PATIENCE, || {
        (secret()?["data"]["tls.crt"] != serving).then_some(())
    })
}

/// Has pods admitted, without making them, until told to stop. Gives what went wrong.
fn load(
    api: &ApiServer,
    namespace: &str,
    stop: &AtomicBool,
    admitted: &AtomicU64,
) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let file = Kubeconfig::read_from(api.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await?;
        let pods = Api::<Pod>::namespaced(Client::try_from(config)?, namespace);
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let pod = json!({"metadata": {"generateName": "web-"},
                         "spec": {"containers": [{"name": "app", "image": "app"}]}});
        let pod: Pod = serde_json::from_value(pod)?;
        let mut failed = Vec::new();
        while !stop.load(Ordering::Relaxed) && failed.len() < 10 {
            match pods.create(&params, &pod).await {
                Ok(pod) if is_injected(&serde_json::to_value(&pod)?) => {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => failed.push("not injected".to_owned()),
                Err(error) => failed.push(error.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(failed)
    })
}
