//! `weir policy`: what AuthorizationPolicies would do to the traffic of the last hour, before they are
//! applied.
//!
//! Sidecars remember who did what at their pods (`/flows`). The rules that would be in force are asked
//! about each of these flows by the functions of discovery that sidecars' filters are built by.

mod judge;
mod show;
mod traffic;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use weir_api::spiffe::TrustDomain;
use weir_playground::Error;

use crate::{cluster::ClusterArgs, objects, output};

use self::{judge::Candidates, traffic::Traffic};

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say which flows of the last hour would be let through or refused otherwise
    Test(TestArgs),
    /// Print the flows of the last hour and the policies in force, to be tested against later
    Flows(FlowsArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Files or directories with the AuthorizationPolicies; those of the same names are taken to be replaced
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What `weir policy flows` printed, instead of asking sidecars
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kubeconfig", "context"])]
    flows: Option<PathBuf>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Namespace of the control plane, whose policies are about the whole mesh
    #[arg(long, value_name = "NAME", default_value = "weir-system")]
    root_namespace: String,
    /// What the identities of workloads of the mesh begin with
    #[arg(long, value_name = "DOMAIN", default_value_t = TrustDomain::default())]
    trust_domain: TrustDomain,
    #[command(flatten)]
    from: FlowsArgs,
}

#[derive(Debug, Args)]
struct FlowsArgs {
    /// Only flows to pods of this namespace, which is also that of policies that name none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people, in 100 columns
    Text,
    /// For programs
    Json,
}

pub(crate) fn run(args: &PolicyArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Test(args) => test(args, run_root),
        Command::Flows(args) => {
            let traffic = fetch(args, run_root)?;
            output::line(&serde_json::to_string_pretty(&traffic)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Succeeds if nothing would change.
fn test(args: &TestArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let namespace = args.from.namespace.as_deref();
    let candidates = Candidates::read(objects::read(&args.files)?, namespace)?;
    let mut traffic = match &args.flows {
        Some(file) => saved(file)?,
        None => fetch(&args.from, run_root)?,
    };
    if let Some(namespace) = namespace {
        traffic.pods.retain(|pod| pod.namespace == namespace);
    }
    let settings = weir_discovery::rules::Settings {
        root_namespace: args.root_namespace.as_str().into(),
        ..weir_discovery::rules::Settings::default()
    };
    let outcome = judge::judge(&traffic, &candidates, &settings, &args.trust_domain);
    match args.output {
        Output::Text => output::line(show::text(&outcome).trim_end()),
        Output::Json => output::line(&serde_json::to_string_pretty(&outcome)?),
    }
    Ok(match outcome.changes.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn saved(file: &Path) -> anyhow::Result<Traffic> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let read = serde_json::from_str(&text);
    let read = read.map_err(|error| Error::Manifest {
        file: file.display().to_string(),
        reason: format!("is not what weir policy flows prints: {error}"),
    });
    Ok(read?)
}

fn fetch(args: &FlowsArgs, run_root: &Path) -> anyhow::Result<Traffic> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let traffic = runtime.block_on(traffic::fetch(args, run_root))?;
    if traffic.pods.is_empty() {
        bail!(
            "there is no pod with a sidecar in {}; `weir check` says why",
            match &args.namespace {
                Some(namespace) => format!("namespace {namespace}"),
                None => "any namespace".to_owned(),
            }
        );
    }
    Ok(traffic)
}

#[cfg(test)]
mod tests;
