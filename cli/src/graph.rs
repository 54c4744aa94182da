//! `weir graph`: who calls whom, and how well, from the metrics of all sidecars.

mod edges;
mod samples;
mod show;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use weir_api::{annotations, ports, sidecar};
use weir_playground::run;

use crate::{
    cluster::{ClusterArgs, reason},
    output,
    reach::{self, Reach},
};

use self::edges::Edges;

/// Pods that are asked at a time.
const AT_A_TIME: usize = 16;
/// What is asked for: the metrics of the mesh, whatever they are called, without what is not shown.
const PATH: &str = "/stats/prometheus?filter=_(requests_total|request_duration_milliseconds|\
                    tcp_connections_opened_total|tcp_sent_bytes_total|tcp_received_bytes_total)$";

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Only calls from or to this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Look twice, so many seconds apart, and show what happened in between, not all since the
    /// sidecars' start
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each pair that calls
    Table,
    /// The same as JSON
    Json,
    /// A graph for Graphviz
    Dot,
    /// A flowchart for Mermaid
    Mermaid,
}

pub(crate) fn run(args: &GraphArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let edges = runtime.block_on(edges(args, run_root))?;
    let mut edges = edges.into_sorted();
    if let Some(namespace) = &args.namespace {
        edges.retain(|(pair, _)| pair.touches(namespace));
    }
    match args.output {
        Output::Table => show::table(&edges, args.seconds),
        Output::Json => output::line(&show::json(&edges)?),
        Output::Dot => output::line(&show::dot(&edges)),
        Output::Mermaid => output::line(&show::mermaid(&edges)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn edges(args: &GraphArgs, run_root: &Path) -> anyhow::Result<Edges> {
    let pods = pods(args, run_root).await?;
    if pods.is_empty() {
        bail!("there is no pod with a sidecar; `weir check` says why");
    }
    let first = look(&pods).await?;
    let Some(seconds) = args.seconds else {
        return Ok(first);
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok(look(&pods).await?.since(&first))
}

/// Asks all of them. Who does not answer is named, and does not hide the others.
async fn look(pods: &[Reach]) -> anyhow::Result<Edges> {
    let asked = pods
        .iter()
        .map(|pod| async move { (pod, pod.get(ports::ADMIN, PATH).await) });
    let mut answers = stream::iter(asked).buffer_unordered(AT_A_TIME);
    let (mut edges, mut silent) = (Edges::default(), 0);
    while let Some((pod, answer)) = answers.next().await {
        match answer {
            Ok(text) => edges.add(&text),
            Err(error) => {
                silent += 1;
                output::error(&format!("weir: no metrics of {}: {error:#}", pod.name()));
            }
        }
    }
    if silent == pods.len() {
        bail!("none of {silent} sidecars answers");
    }
    Ok(edges)
}

/// All pods with a sidecar.
async fn pods(args: &GraphArgs, run_root: &Path) -> anyhow::Result<Vec<Reach>> {
    if reach::asks_demo(&args.cluster, run_root) {
        let runs = run::live(run_root);
        let newest = runs.last().into_iter().flat_map(|(_, state)| &state.pods);
        let meshed = newest.filter(|pod| {
            let mut containers = pod.containers.iter();
            containers.any(|container| container == sidecar::PROXY_CONTAINER)
        });
        return Ok(meshed.map(reach::of_playground).collect());
    }
    let client = args.cluster.client().await?;
    let all: Api<Pod> = Api::all(client.clone());
    let running = ListParams::default().fields("status.phase=Running");
    let found = all.list_metadata(&running).await;
    let found = found.map_err(|error| anyhow!("pods of all namespaces: {}", reason(&error)))?;
    let meshed = found.items.into_iter().filter_map(|pod| {
        let annotations = pod.metadata.annotations.as_ref()?;
        annotations.get(annotations::STATUS)?;
        let pods = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref()?);
        Some(Reach::Cluster {
            name: pod.metadata.name?,
            pods: Box::new(pods),
        })
    });
    Ok(meshed.collect())
}
