//! Objects that tests make in an API server, and what plays the parts that need nodes.

use std::{
    fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_process::command::{LIMIT, execute};

use super::ApiServer;
use crate::eventually::eventually;

/// How long a controller may take for what it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Kubernetes namespace of a test's own. Dropping it deletes it, without waiting for that.
#[derive(Debug)]
pub struct Namespace<'server> {
    name: String,
    server: &'server ApiServer,
}

impl ApiServer {
    /// Makes a namespace with a name nobody else uses, with these labels (`key=value`), and waits
    /// until pods can be made in it.
    pub fn namespace(&self, labels: &[&str]) -> Result<Namespace<'_>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-t-{}-{number}", process::id());
        self.kubectl(&["create", "namespace", &name])?;
        let namespace = Namespace { name, server: self };
        if !labels.is_empty() {
            let command = ["label", "namespace", namespace.name()];
            self.kubectl(&[&command, labels].concat())?;
        }
        if self.controllers {
            self.await_account(namespace.name())?;
        }
        Ok(namespace)
    }

    /// Applies manifests, in YAML or JSON. They name their own namespaces.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.kubectl_with(&["apply", "-f", "-"], manifests)
    }

    /// Reads an object, such as `("team-a", "pod", "web")`. The namespace is "" where kinds have
    /// none.
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A token of a ServiceAccount, for the API server or for the audience given.
    pub fn token(&self, namespace: &str, account: &str, audience: Option<&str>) -> Result<String> {
        let audience = audience.map(|audience| format!("--audience={audience}"));
        let mut arguments = vec!["create", "token", account, "-n", namespace];
        arguments.extend(audience.as_deref());
        Ok(self.kubectl(&arguments)?.trim().to_owned())
    }

    /// Writes a kubeconfig with which one is a ServiceAccount.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.token(namespace, account, None)?;
        let view = [
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "-o",
            "json",
        ];
        let mut config: Value = serde_json::from_str(&self.kubectl(&view)?)?;
        let user = config.pointer_mut("/users/0/user");
        *user.context("the kubeconfig names no user")? = json!({"token": token});
        let path = self.dir().join(format!("{namespace}-{account}.kubeconfig"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Makes a Node that says it is ready, as a kubelet of `version` ("v1.34.1") would.
    pub fn create_node(&self, name: &str, version: &str, labels: &Value) -> Result<()> {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "nodeInfo": {
                    "kubeletVersion": version, "kubeProxyVersion": "", "architecture": "amd64",
                    "operatingSystem": "linux", "osImage": "test", "kernelVersion": "6.1.0",
                    "containerRuntimeVersion": "test://1", "machineID": "", "systemUUID": "", "bootID": "",
                },
            },
        });
        self.kubectl_with(&["create", "-f", "-"], &node.to_string())?;
        Ok(())
    }

    /// Puts a pod on a node, as the scheduler would. A pod on none is in no EndpointSlice.
    pub fn bind_pod(&self, namespace: &str, pod: &str, node: &str) -> Result<()> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/binding");
        self.kubectl_with(&["create", "--raw", &path, "-f", "-"], &binding.to_string())?;
        Ok(())
    }

    /// Writes that a pod runs and is ready, with this address, as its kubelet would.
    pub fn run_pod(&self, namespace: &str, pod: &str, ip: &str) -> Result<()> {
        let patch = json!({"status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "ContainersReady", "status": "True"},
            ],
        }});
        let patch = format!("--patch={patch}");
        self.kubectl(&[
            "patch",
            "pod",
            pod,
            "-n",
            namespace,
            "--subresource=status",
            &patch,
        ])?;
        Ok(())
    }

    /// Makes one port of a Service reachable in the network namespace: connections to its ClusterIP
    /// go to `target`, a port on this namespace's loopback. kube-proxy's part, as far as webhooks
    /// need it.
    ///
    /// # Panics
    /// Where the API server does not run in a network namespace.
    pub fn serve_service(
        &self,
        namespace: &str,
        service: &str,
        port: u16,
        target: u16,
    ) -> Result<()> {
        let netns = self.netns().expect("started with Place::Namespace");
        let object = self.get(namespace, "service", service)?;
        let ip = object.pointer("/spec/clusterIP").and_then(Value::as_str);
        let ip = ip.context("the Service has no address")?;
        let rule = format!(
            "-t nat -A OUTPUT -d {ip} -p tcp --dport {port} -j REDIRECT --to-ports {target}"
        );
        let mut command = netns.command("iptables");
        execute(command.arg("-w").args(rule.split(' ')), "", LIMIT)?;
        Ok(())
    }

    /// Waits until the ServiceAccount exists without which no pod can be made in a namespace.
    pub(super) fn await_account(&self, namespace: &str) -> Result<()> {
        eventually(PATIENCE, || {
            self.get(namespace, "serviceaccount", "default").ok()
        })
        .with_context(|| format!("namespace {namespace} gets no ServiceAccount"))?;
        Ok(())
    }
}

// === impl Namespace ===

impl Namespace<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // An API server that is gone has taken it along.
        let _ = self
            .server
            .kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
