//! `weir check`: whether a cluster is fit for Weir, and whether an installed Weir works.
//!
//! What the API server says is read first ([`facts`]); what follows from it is found by plain
//! functions, one module a subject.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::{
    cluster::{ClusterArgs, named, reason},
    output,
};

mod certificate;
mod conflicts;
mod control_plane;
mod dry_run;
mod facts;
mod finding;
mod nodes;
mod outside;
mod permissions;
mod pods;
mod rules;
mod scope;
mod services;
mod unconnected;
mod version;
mod webhook;

use facts::Facts;
pub(crate) use facts::{PAGE, each_raw};
use finding::Report;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespace of Weir's control plane
    #[arg(short, long, value_name = "NAME", default_value = "weir-system")]
    namespace: String,
    /// Only whether Weir can be installed
    #[arg(long)]
    pre: bool,
    /// Ask for a pod by a dry run in this namespace only, with a label by which it wants a sidecar [default: in
    /// each namespace that has sidecars]
    #[arg(long, value_name = "NAME")]
    dry_run_in: Option<String>,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each finding, and what to do
    Table,
    /// For programs
    Json,
}

/// Names of the objects of one installation.
#[derive(Debug, Clone)]
struct Names {
    namespace: String,
    revision: String,
}

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(check(args))?;
    match args.output {
        Output::Table => output::line(report.to_string().trim_end()),
        Output::Json => output::line(&serde_json::to_string_pretty(&report)?),
    }
    Ok(if report.summary.failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn check(args: &CheckArgs) -> anyhow::Result<Report> {
    let names = Names {
        namespace: args.namespace.clone(),
        revision: args.cluster.revision.clone(),
    };
    let client = args.cluster.client().await?;
    output::error(&format!("weir: asking {}", args.cluster));
    // Everything else is of no use while this fails.
    let version = client.apiserver_version().await;
    let version = version.map_err(|error| {
        let server = &args.cluster;
        anyhow!(
            "{server} does not answer as an API server: {}",
            reason(&error)
        )
    })?;
    let facts = Facts::read(client, version, names, args).await;
    let mut findings = version::check(&facts.version);
    findings.extend(nodes::check(&facts));
    findings.extend(conflicts::check(&facts));
    findings.extend(services::check(&facts));
    if args.pre {
        findings.extend(permissions::of_user(&facts));
    } else if facts.is_installed() {
        findings.extend(permissions::of_control_plane(&facts));
        findings.extend(control_plane::check(&facts));
        findings.extend(webhook::check(&facts));
        findings.extend(certificate::check(&facts));
        findings.extend(dry_run::check(&facts));
        findings.extend(pods::check(&facts));
        findings.extend(outside::check(&facts));
        findings.extend(unconnected::check(&facts));
        findings.extend(rules::check(&facts));
    } else {
        findings.extend(permissions::of_user(&facts));
        findings.push(control_plane::not_installed(&facts));
    }
    Ok(Report::new(findings))
}

// === impl Names ===

impl Names {
    fn control(&self) -> String {
        named("weir-control", &self.revision)
    }

    fn injector(&self) -> String {
        named("weir-injector", &self.revision)
    }

    fn validator(&self) -> String {
        named("weir-validator", &self.revision)
    }

    fn config_map(&self) -> String {
        named("weir-config", &self.revision)
    }
}

#[cfg(test)]
mod tests;
