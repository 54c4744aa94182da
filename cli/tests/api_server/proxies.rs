//! Proxies of a cluster, seen through the API server: real Envoy with the token of a pod is a
//! client of the control plane, and `weir` asks both through port-forward.

use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::sync::oneshot;
use weir_tests::{
    envoy::{self, Envoy},
    eventually::eventually,
};

use super::{
    installation::{Cluster, NODE, PATIENCE},
    kubelet,
};

#[test]
fn a_proxy_of_a_cluster_is_asked_through_the_api_server() -> Result<()> {
    if !envoy::available() {
        return Ok(());
    }
    let Some(cluster) = Cluster::start() else {
        return Ok(());
    };
    let api = &cluster.api;
    api.create_node(NODE, "v1.33.0", &json!({}))?;
    kubelet::announce(api)?;
    let _control_plane = cluster.install()?;
    cluster.namespace("shop", &json!({}))?;
    api.kubectl(&["run", "client", "-n", "shop", "--image=app", "--port=8080"])?;
    api.bind_pod("shop", "client", NODE)?;
    api.run_pod("shop", "client", "10.244.0.9")?;
    let envoy = cluster.envoy("shop", "client")?;

    let netns = api.netns().context("runs in a namespace")?;
    let (end, ended) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || netns.run(|| kubelet::run(async { ended.await.unwrap_or(()) })));
        let seen = cluster.sees_the_proxy(&envoy);
        drop(end);
        seen
    })
}

// === impl Cluster ===

impl Cluster {
    /// Starts Envoy as a pod of the cluster, with that pod's token.
    fn envoy(&self, namespace: &str, pod: &str) -> Result<Envoy> {
        let dir = self.api.dir();
        let bound = [
            "--audience=weir-ca",
            "--bound-object-kind=Pod",
            "--bound-object-name",
            pod,
        ];
        let token = ["create", "token", "default", "-n", namespace];
        fs::write(
            dir.join("token"),
            self.api.kubectl(&[&token[..], &bound[..]].concat())?.trim(),
        )?;
        // The control plane writes its root to namespaces with sidecars, and this has none.
        let secret = ["get", "secret", "weir-ca", "-n", "weir-system", "-o"];
        let ca = self
            .api
            .kubectl(&[&secret[..], &[r"jsonpath={.data.ca\.crt}"]].concat())?;
        let ca: k8s_openapi::ByteString = serde_json::from_value(json!(ca))?;
        fs::write(dir.join("root.pem"), ca.0)?;
        let path = |name: &str| dir.join(name).display().to_string();
        let bootstrap = self.weir(&[
            "proxy-config",
            "bootstrap",
            pod,
            "--namespace",
            namespace,
            "--envoy",
            "--control-plane",
            "127.0.0.1:15012",
            "--control-plane-name",
            "weir-control.weir-system.svc",
            "--ca-file",
            &path("root.pem"),
            "--token-file",
            &path("token"),
        ])?;
        ensure!(bootstrap.status.success(), "{}", bootstrap.stderr);
        Envoy::start_by(self.api.command("envoy"), &bootstrap.stdout)
    }

    /// Waits until the control plane says that Envoy took everything, and asks Envoy itself.
    fn sees_the_proxy(&self, envoy: &Envoy) -> Result<()> {
        let said = |arguments: &[&str]| -> Result<String> {
            let output = self.weir(arguments)?;
            Ok(output.stdout + &output.stderr)
        };
        let mut last = String::new();
        let synced = eventually(PATIENCE, || {
            last = said(&["proxy-status"]).ok()?;
            let line = last.lines().find(|line| line.contains("client.shop"))?;
            (line.matches("synced").count() >= 3).then_some(())
        });
        synced.with_context(|| format!("{last}\n{}", envoy.log()))?;
        let listeners = said(&["proxy-config", "listeners", "client", "--namespace", "shop"])?;
        ensure!(listeners.contains("virtualInbound"), "{listeners}");
        let clusters = said(&["proxy-config", "clusters", "shop/client"])?;
        let control = "outbound|15012||weir-control.weir-system.svc.cluster.local";
        ensure!(clusters.contains(control), "{clusters}");
        Ok(())
    }
}
