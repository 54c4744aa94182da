//! `weir graph`: who calls whom, and how well, from the metrics of all sidecars.

mod edges;
mod samples;
mod show;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::{
    cluster::ClusterArgs,
    meshed::{self, Meshed},
    output,
};

use self::edges::Edges;

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
    let (_, pods) = meshed::pods(&args.cluster, run_root).await?;
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

/// Asks all of them.
async fn look(pods: &[Meshed]) -> anyhow::Result<Edges> {
    let mut edges = Edges::default();
    meshed::ask(pods, PATH, "metrics", |_, text| edges.add(text)).await?;
    Ok(edges)
}
