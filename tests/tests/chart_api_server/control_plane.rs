//! The control plane as the chart runs it: with the flags of its Deployment and the rights of its
//! ServiceAccount, in the network namespace of the API server.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::Value;
use tokio::sync::watch;
use weir_tests::eventually::eventually;
use weir_tests::helm::NAMESPACE;

use crate::release::{Cluster, PATIENCE};

/// A running control plane. Dropping it stops it and waits until it has.
pub(crate) struct ControlPlane<'scope> {
    stop: watch::Sender<bool>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

// === impl ControlPlane ===

impl<'scope> ControlPlane<'scope> {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start<'env>(
        scope: &'scope thread::Scope<'scope, 'env>,
        cluster: &'env Cluster,
    ) -> Self {
        let config = cluster.control_plane_config().unwrap();
        let (stop, stopped) = watch::channel(false);
        let thread = scope.spawn(move || {
            let runtime = || {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.enable_all().worker_threads(2).build().unwrap()
            };
            let served = || runtime().block_on(weir_control::run(config, stopped, |_| {}));
            cluster.server.netns().unwrap().run(served).unwrap();
        });
        let started = Self {
            stop,
            thread: Some(thread),
        };
        let mut said = String::new();
        let ready = eventually(PATIENCE, || {
            said = cluster
                .ask("/ready")
                .unwrap_or_else(|error| error.to_string());
            said.starts_with("HTTP/1.1 200").then_some(())
        });
        ready.unwrap_or_else(|error| panic!("{error}: {said}"));
        started
    }
}

impl Drop for ControlPlane<'_> {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // Its own panic has been printed.
            let _ = thread.join();
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// What the container of the chart's Deployment would be configured with.
    fn control_plane_config(&self) -> Result<weir_control::Config> {
        let deployment = self.server.get(NAMESPACE, "deployment", "weir-control")?;
        let pod = &deployment["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().unwrap_or_default();
        let kubeconfig = self.server.kubeconfig_of(NAMESPACE, account)?;
        let mut command = vec![
            "weir-control".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--namespace={NAMESPACE}"),
            "--pod-name=weir-control-0".to_owned(),
        ];
        let flags = pod["containers"][0]["args"].as_array();
        let flags = flags.into_iter().flatten().filter_map(Value::as_str);
        // What cert-manager's Secret is mounted at.
        let mounted = self.server.dir().join("serving").display().to_string();
        command.extend(flags.map(|flag| flag.replace("/var/run/weir/serving", &mounted)));
        Ok(weir_control::Config::try_parse_from(command)?)
    }

    /// Asks the port of metrics and debug endpoints, and returns the response with its head.
    pub(crate) fn ask(&self, path: &str) -> Result<String> {
        self.server.netns().unwrap().run(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", 15014))?;
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut response = String::new();
            stream.read_to_string(&mut response)?;
            ensure!(!response.is_empty(), "{path}: no response");
            Ok(response)
        })
    }
}
