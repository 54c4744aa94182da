//! Asking a port on a pod's own loopback: in a running playground through the pod's network
//! namespace, in a cluster through the API server and the kubelet, as `kubectl port-forward` does.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use weir_playground::{
    admin,
    run::{self, RunningPod},
};

use crate::{
    cluster::{ClusterArgs, reason},
    output,
};

/// Which pod, of the demo that runs on this machine or of a cluster.
#[derive(Debug, Args)]
pub(crate) struct AnyPodArgs {
    /// Name of the pod, or the beginning of one, or `namespace/name`
    pub(crate) pod: String,
    /// Namespace of the pod [default: any of the demo's, or the cluster's default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// A pod that can be asked.
pub(crate) enum Reach {
    /// Of a playground on this machine.
    Playground {
        /// `namespace/name`
        name: String,
        netns: String,
    },
    /// Of a cluster.
    Cluster { name: String, pods: Box<Api<Pod>> },
}

/// Whether the demo that runs on this machine is asked, and not a cluster: if one runs, and no
/// cluster was named. Says on standard error whom it is, for the answers look alike.
pub(crate) fn asks_demo(cluster: &ClusterArgs, run_root: &Path) -> bool {
    let runs = run::live(run_root);
    let newest = runs.last().filter(|_| !cluster.is_named());
    let whom = match newest {
        Some((dir, _)) => format!("the demo that runs on this machine ({})", dir.display()),
        None if runs.is_empty() => cluster.to_string(),
        None => format!("{cluster}, not the demo that runs on this machine"),
    };
    output::error(&format!("weir: asking {whom}"));
    newest.is_some()
}

// === impl AnyPodArgs ===

impl AnyPodArgs {
    /// Finds the pod.
    pub(crate) async fn find(&self, run_root: &Path) -> anyhow::Result<Reach> {
        let (namespace, name) = match self.pod.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (self.namespace.as_deref(), self.pod.as_str()),
        };
        if asks_demo(&self.cluster, run_root) {
            return in_playground(run_root, namespace, name);
        }
        let client = self.cluster.client().await;
        let client = client.context("no demo is asked, and no cluster can be")?;
        let namespace = namespace
            .unwrap_or_else(|| client.default_namespace())
            .to_owned();
        let pods: Api<Pod> = Api::namespaced(client, &namespace);
        let all = pods.list_metadata(&ListParams::default()).await;
        let all = all.map_err(|error| anyhow!("pods of {namespace}: {}", reason(&error)))?;
        let names: Vec<String> = all
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect();
        let found = names.iter().find(|found| *found == name);
        let found = found.or_else(|| names.iter().find(|found| found.starts_with(name)));
        match found {
            Some(found) => Ok(Reach::Cluster {
                name: found.clone(),
                pods: Box::new(pods),
            }),
            None => bail!("there is no pod {namespace}/{name}"),
        }
    }
}

/// Finds a pod in the running playgrounds, the newest first.
pub(crate) fn in_playground(
    run_root: &Path,
    namespace: Option<&str>,
    name: &str,
) -> anyhow::Result<Reach> {
    let runs = run::live(run_root);
    let pods = || runs.iter().rev().flat_map(|(_, state)| &state.pods);
    let mut wanted = pods().filter(|pod| namespace.is_none_or(|wanted| pod.namespace == wanted));
    let exact = wanted.clone().find(|pod| pod.name == name);
    let Some(pod) = exact.or_else(|| wanted.find(|pod| pod.name.starts_with(name))) else {
        let all: Vec<String> = pods()
            .map(|pod| format!("{}/{}", pod.namespace, pod.name))
            .collect();
        bail!(
            "there is no pod {name} in the running demo; there are {}",
            all.join(", ")
        );
    };
    Ok(of_playground(pod))
}

/// A pod of a playground.
pub(crate) fn of_playground(pod: &RunningPod) -> Reach {
    Reach::Playground {
        name: format!("{}/{}", pod.namespace, pod.name),
        netns: pod.netns.clone(),
    }
}

// === impl Reach ===

impl Reach {
    /// Name of the pod, for people.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Playground { name, .. } | Self::Cluster { name, .. } => name,
        }
    }

    /// `GET path` at a port on the pod's loopback.
    pub(crate) async fn get(&self, port: u16, path: &str) -> anyhow::Result<String> {
        match self {
            Self::Playground { netns, .. } => {
                let (netns, path) = (netns.clone(), path.to_owned());
                // It blocks, on a thread that has entered the pod's namespace.
                let asked = move || admin::get_from(&netns, port, &path);
                Ok(tokio::task::spawn_blocking(asked).await??)
            }
            Self::Cluster { name, pods } => forwarded(pods, name, port, path).await,
        }
        .with_context(|| format!("port {port} of pod {}", self.name()))
    }
}

/// Asks through the API server.
async fn forwarded(pods: &Api<Pod>, name: &str, port: u16, path: &str) -> anyhow::Result<String> {
    let forward = pods.portforward(name, &[port]).await;
    let mut forward = forward.map_err(|error| anyhow!("port-forward: {}", reason(&error)))?;
    let refused = forward.take_error(port);
    let stream = forward
        .take_stream(port)
        .context("port-forward: no stream")?;
    let asked = ask(TokioIo::new(stream), port, path);
    tokio::select! {
        answer = asked => answer,
        // The kubelet's own words say more than a stream that ends.
        Some(error) = async { refused?.await } => bail!("port-forward: {error}"),
    }
}

async fn ask<S>(stream: S, port: u16, path: &str) -> anyhow::Result<String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, format!("localhost:{port}"))
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status != StatusCode::OK {
        bail!("status {status}: {}", text.trim());
    }
    Ok(text)
}
