//! `weir proxy-config`: the configuration a proxy runs on, and a bootstrap to start real Envoy
//! with.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use weir_api::ports;

use crate::{output, reach::AnyPodArgs};

mod dump;
mod envoy;
mod views;

use dump::Section;

#[derive(Debug, Args)]
pub(crate) struct ProxyConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Listeners of a pod's proxy, and where each of their filter chains leads
    Listeners(ShowArgs),
    /// Clusters of a pod's proxy
    Clusters(ShowArgs),
    /// Routes of a pod's proxy
    Routes(ShowArgs),
    /// Endpoints of a pod's proxy
    Endpoints(ShowArgs),
    /// The bootstrap a pod's proxy was started with, or one with which real Envoy is a client of
    /// the control plane
    Bootstrap(envoy::BootstrapArgs),
}

/// What to show of which pod.
#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    pod: AnyPodArgs,
    /// Only what has this in its name
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each, shortened
    Table,
    /// Each as the proxy has it
    Json,
}

pub(crate) fn run(args: &ProxyConfigArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match &args.what {
            What::Listeners(args) => show(args, Section::Listeners, run_root).await,
            What::Clusters(args) => show(args, Section::Clusters, run_root).await,
            What::Routes(args) => show(args, Section::Routes, run_root).await,
            What::Endpoints(args) => show(args, Section::Endpoints, run_root).await,
            What::Bootstrap(args) => envoy::run(args, run_root).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &ShowArgs, section: Section, run_root: &Path) -> anyhow::Result<()> {
    let dump = read_dump(&args.pod, run_root).await?;
    let mut found = section.of(&dump);
    found.retain(|resource| resource.name.contains(&args.name));
    match (args.output, section) {
        (Output::Json, _) => {
            let messages: Vec<&Value> = found.iter().map(|resource| &resource.message).collect();
            output::line(&serde_json::to_string_pretty(&messages)?);
        }
        (Output::Table, Section::Listeners) => output::table(
            ["listener", "address", "matches", "leads to", "state"],
            found.iter().flat_map(views::listener),
        ),
        (Output::Table, Section::Clusters) => output::table(
            ["cluster", "type", "load balancing", "state"],
            found.iter().map(views::cluster),
        ),
        (Output::Table, Section::Routes) => output::table(
            ["routes", "domains", "matches", "leads to", "state"],
            found.iter().flat_map(views::routes),
        ),
        (Output::Table, Section::Endpoints) => output::table(
            ["cluster", "endpoint", "health", "locality"],
            found.iter().flat_map(views::endpoints),
        ),
    }
    Ok(())
}

/// What the admin port of a pod's proxy says it runs on.
async fn read_dump(pod: &AnyPodArgs, run_root: &Path) -> anyhow::Result<Value> {
    let pod = pod.find(run_root).await?;
    let text = pod.get(ports::ADMIN, "/config_dump?include_eds").await?;
    serde_json::from_str(&text).with_context(|| format!("the configuration of {}", pod.name()))
}
