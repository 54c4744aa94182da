//! Weir as the chart installs it, in an API server of the test's own.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_process::command::{LIMIT, Output, execute, output};
use weir_tests::{
    api_server::{ApiServer, Place},
    eventually::eventually,
    helm::{self, Rendered},
    running::Running,
    skip::{self, Need},
};

/// Far longer than anything takes; it only ends a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Namespace of the control plane.
pub(crate) use weir_tests::helm::NAMESPACE;

/// The one node.
pub(crate) const NODE: &str = "node-1";

/// An API server to install into.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    control: PathBuf,
}

// === impl Cluster ===

impl Cluster {
    /// `None`, after saying so, where the machine lacks something.
    pub(crate) fn start() -> Option<Self> {
        if !helm::available() {
            return None;
        }
        let control = skip::built("weir-control")?;
        let api = ApiServer::start(Place::Namespace)?;
        if !api.has_controllers() {
            let reason = "there is no kube-controller-manager beside kube-apiserver";
            skip::skip(Need::ApiServer, reason);
            return None;
        }
        Some(Self { api, control })
    }

    /// Runs `weir` beside the API server.
    pub(crate) fn weir(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.api.command(env!("CARGO_BIN_EXE_weir"));
        // No demo that runs on this machine is meant.
        command.env("WEIR_RUN_ROOT", self.api.dir().join("runs"));
        Ok(output(command.args(arguments), "", PATIENCE)?)
    }

    /// Makes a namespace with these labels.
    pub(crate) fn namespace(&self, name: &str, labels: &Value) -> Result<()> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        self.api.apply(&namespace.to_string())?;
        eventually(PATIENCE, || {
            self.api.get(name, "serviceaccount", "default").ok()
        })?;
        Ok(())
    }

    /// Installs the chart, starts a control plane for it and plays kubelet for its pods.
    pub(crate) fn install(&self) -> Result<Running> {
        self.namespace(NAMESPACE, &json!({}))?;
        let rendered = Rendered::with("");
        let objects = rendered.sorted().into_iter().cloned();
        let objects =
            json!({"apiVersion": "v1", "kind": "List", "items": Value::from_iter(objects)});
        self.api.apply(&objects.to_string())?;
        self.api
            .serve_service(NAMESPACE, "weir-control", 443, 15017)?;
        let running = self.control_plane()?;
        self.run_pods()?;
        Ok(running)
    }

    /// Starts the control plane and waits until it is ready.
    fn control_plane(&self) -> Result<Running> {
        let deployment = self.api.get(NAMESPACE, "deployment", "weir-control")?;
        let arguments = deployment.pointer("/spec/template/spec/containers/0/args");
        let arguments = arguments
            .and_then(Value::as_array)
            .context("has arguments")?;
        let kubeconfig = self.api.kubeconfig_of(NAMESPACE, "weir-control")?;
        let log = self.log();
        let mut command = self.api.command(&self.control);
        command.args(arguments.iter().filter_map(Value::as_str));
        command.arg("--kubeconfig").arg(kubeconfig);
        command.args(["--namespace", NAMESPACE, "--pod-name", "weir-control-0"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let running = Running::start(&mut command)?;
        let ready = || {
            let mut curl = self.api.command("curl");
            execute(
                curl.args(["-sf", "http://127.0.0.1:15014/ready"]),
                "",
                LIMIT,
            )
            .ok()
        };
        eventually(PATIENCE, ready).with_context(|| fs::read_to_string(log).unwrap_or_default())?;
        Ok(running)
    }

    fn log(&self) -> PathBuf {
        self.api.dir().join("weir-control.log")
    }

    /// Says that the pods of the chart's Deployment run, as kubelets would.
    fn run_pods(&self) -> Result<()> {
        let list = [
            "get",
            "pods",
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ];
        let pods = eventually(PATIENCE, || {
            let names = self.api.kubectl(&list).ok()?;
            let names: Vec<String> = names.split(' ').map(ToOwned::to_owned).collect();
            (names.len() == 2).then_some(names)
        })?;
        for (number, pod) in pods.iter().enumerate() {
            self.api.bind_pod(NAMESPACE, pod, NODE)?;
            self.api
                .run_pod(NAMESPACE, pod, &format!("10.244.0.{}", number + 2))?;
        }
        Ok(())
    }
}
