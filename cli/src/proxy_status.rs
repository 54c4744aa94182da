//! `weir proxy-status`: every proxy that is connected, and whether it took what it was sent.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_api::{node::NodeId, ports};

use crate::{
    cluster::{ClusterArgs, reason},
    output,
    reach::{self, Reach},
};

/// Types of resources, in the order of their columns.
const KINDS: [&str; 4] = ["listener", "route", "cluster", "endpoint"];

#[derive(Debug, Args)]
pub(crate) struct ProxyStatusArgs {
    /// Only proxies with this in their name: POD.NAMESPACE
    #[arg(default_value = "")]
    proxy: String,
    /// Namespace of Weir's control plane
    #[arg(short, long, value_name = "NAME", default_value = "weir-system")]
    namespace: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each proxy
    Table,
    /// Everything the control plane says
    Json,
}

/// What one replica of the control plane says.
#[derive(Debug, Deserialize)]
struct Status {
    clients: Vec<Client>,
}

/// A connected proxy.
#[derive(Debug, Serialize, Deserialize)]
struct Client {
    /// The replica it is connected to.
    #[serde(default)]
    control_plane: String,
    #[serde(flatten)]
    status: Value,
}

pub(crate) fn run(args: &ProxyStatusArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let clients = runtime.block_on(clients(args, run_root))?;
    match args.output {
        Output::Json => output::line(&serde_json::to_string_pretty(&clients)?),
        Output::Table => output::table(
            [
                "proxy",
                "listeners",
                "routes",
                "clusters",
                "endpoints",
                "since",
                "control plane",
            ],
            clients.iter().map(Client::row),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// The proxies of every replica, by name.
async fn clients(args: &ProxyStatusArgs, run_root: &Path) -> anyhow::Result<Vec<Client>> {
    let mut all = Vec::new();
    for replica in replicas(args, run_root).await? {
        let text = replica.get(ports::CONTROL_DEBUG, "/debug/syncz").await?;
        let status: Status = serde_json::from_str(&text)
            .with_context(|| format!("what {} says is not understood", replica.name()))?;
        all.extend(status.clients.into_iter().map(|client| Client {
            control_plane: replica.name().to_owned(),
            ..client
        }));
    }
    all.retain(|client| client.name().contains(&args.proxy));
    all.sort_by_key(Client::name);
    Ok(all)
}

/// The pods of the control plane.
async fn replicas(args: &ProxyStatusArgs, run_root: &Path) -> anyhow::Result<Vec<Reach>> {
    let namespace = &args.namespace;
    if reach::asks_demo(&args.cluster, run_root) {
        return Ok(vec![reach::in_playground(
            run_root,
            Some(namespace),
            "weir-control",
        )?]);
    }
    let pods: Api<Pod> = Api::namespaced(args.cluster.client().await?, namespace);
    let label = format!(
        "app.kubernetes.io/name=weir-control,weir.dev/revision={}",
        args.cluster.revision
    );
    let running = ListParams::default()
        .labels(&label)
        .fields("status.phase=Running");
    let found = pods.list_metadata(&running).await;
    let found = found.map_err(|error| anyhow!("pods of {namespace}: {}", reason(&error)))?;
    if found.items.is_empty() {
        bail!(
            "no control plane of revision {} runs in {namespace}",
            args.cluster.revision
        );
    }
    let names = found.items.into_iter().filter_map(|pod| pod.metadata.name);
    let reach = |name| Reach::Cluster {
        name,
        pods: Box::new(pods.clone()),
    };
    Ok(names.map(reach).collect())
}

// === impl Client ===

impl Client {
    /// `POD.NAMESPACE`, or the node id of what is no sidecar.
    fn name(&self) -> String {
        let node = self.status["node"].as_str().unwrap_or_default();
        match node.parse::<NodeId>() {
            Ok(id) => format!("{}.{}", id.pod, id.namespace),
            Err(_) => node.to_owned(),
        }
    }

    fn row(&self) -> [String; 7] {
        let [listeners, routes, clusters, endpoints] = KINDS.map(|kind| self.state_of(kind));
        let since = self.status["connected_s"].as_u64().unwrap_or_default();
        let since = format!("{}:{:02}:{:02}", since / 3600, since / 60 % 60, since % 60);
        [
            self.name(),
            listeners,
            routes,
            clusters,
            endpoints,
            since,
            self.control_plane.clone(),
        ]
    }

    /// How it stands with a type: the state, and how many resources are in it.
    fn state_of(&self, kind: &str) -> String {
        let types = self.status["types"].as_array().into_iter().flatten();
        let Some(of) = types.into_iter().find(|of| of["kind"] == kind) else {
            return "-".to_owned();
        };
        let count = |key: &str| of[key].as_u64().unwrap_or_default();
        match of["state"].as_str().unwrap_or_default() {
            "synced" => format!("synced {}", count("acked")),
            "stale" => format!("stale {}", count("sent")),
            "rejected" => {
                let error = of["error"].as_str().unwrap_or_default();
                format!("REJECTED {}: {error}", count("nacked"))
            }
            other => other.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_how_the_proxy_stands_with_each_type() {
        let text = json!({"clients": [{
            "node": "sidecar~10.4.0.7~web-0.shop~shop.svc.cluster.local", "connected_s": 3723,
            "types": [
                {"kind": "listener", "state": "synced", "acked": 4},
                {"kind": "cluster", "state": "rejected", "nacked": 1, "error": "field x"},
                {"kind": "endpoint", "state": "stale", "sent": 2},
            ],
        }]});
        let mut status: Status = serde_json::from_value(text).expect("status");
        let mut client = status.clients.remove(0);
        client.control_plane = "weir-control-0".to_owned();
        let expected = [
            "web-0.shop",
            "synced 4",
            "-",
            "REJECTED 1: field x",
            "stale 2",
            "1:02:03",
            "weir-control-0",
        ];
        assert_eq!(client.row(), expected);
    }
}
