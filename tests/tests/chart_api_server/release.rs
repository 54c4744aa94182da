//! A release of the chart in an API server.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;
use weir_process::command::execute;
use weir_tests::{
    api_server::{ApiServer, Place},
    eventually::eventually,
    helm::{NAMESPACE, available, chart},
};

/// How long a controller, or the control plane, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What Helm may take: some of its commands wait for what controllers do.
const HELM: Duration = Duration::from_secs(300);

/// An API server of a test's own, and the turn of this test: one after the other is quicker than all
/// at once.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    _turn: MutexGuard<'static, ()>,
}

// === impl Cluster ===

impl Cluster {
    /// `None`, after a visible `SKIP`, where something is missing.
    pub(crate) fn start() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        if !available() {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let server = ApiServer::start(Place::Namespace)?;
        Some(Self {
            server,
            _turn: turn,
        })
    }

    /// Runs Helm, with the namespace of Weir.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.server.command("helm");
        command.args(["--namespace", NAMESPACE]).args(arguments);
        Ok(execute(&mut command, "", HELM)?)
    }

    /// `helm upgrade --install` of a release, with values as `--set` takes them and further flags.
    pub(crate) fn upgrade(&self, release: &str, values: &str, flags: &[&str]) -> Result<()> {
        let chart = chart().to_string_lossy().into_owned();
        let command = [
            "upgrade",
            "--install",
            "--create-namespace",
            release,
            &chart,
        ];
        self.helm(&[&command[..], &["--set", values], flags].concat())?;
        Ok(())
    }

    /// The webhooks of the injector.
    pub(crate) fn webhooks(&self) -> Vec<Value> {
        let object = self
            .server
            .get("", "mutatingwebhookconfiguration", "weir-injector");
        object.unwrap()["webhooks"].as_array().unwrap().clone()
    }

    /// Waits for the ServiceAccount without which no pod can be made.
    pub(crate) fn await_account(&self, namespace: &str) {
        let account = || self.server.get(namespace, "serviceaccount", "default").ok();
        eventually(PATIENCE, account).unwrap();
    }

    /// Makes a pod, or only asks whether it could be made, and returns it as it was admitted.
    pub(crate) fn create(&self, pod: &Value, flags: &[&str]) -> Result<Value> {
        let command = ["create", "-f", "-", "-o", "json"];
        let pod = self
            .server
            .kubectl_with(&[&command[..], flags].concat(), &pod.to_string())?;
        Ok(serde_json::from_str(&pod)?)
    }
}
