//! How discovery grows with the cluster: `make bench-scale`.
//!
//! The control plane is a process of its own; the API server it follows and its clients are made up
//! and live in this one. Exit status: 0 measured, 1 not, 64 bad usage.

mod api;
mod clients;
mod cluster;
mod measure;
mod process;
mod report;
mod sidecar;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use weir_process::exit::{self, Fault};

use crate::report::Report;

/// Measures how discovery grows with the cluster.
#[derive(Debug, Parser)]
#[command(name = "weir-bench-scale", version)]
pub(crate) struct Args {
    /// weir-control as it ships (`cargo build --release -p weir-control`).
    #[arg(long, value_name = "FILE")]
    pub(crate) control: PathBuf,
    /// weir-agent as it ships, to measure a sidecar in clusters of these sizes, which needs root.
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<PathBuf>,
    /// Sizes of the cluster, in services of ten endpoints each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000],
          value_parser = clap::value_parser!(u32).range(40..=100_000))]
    pub(crate) services: Vec<u32>,
    /// Clients that use the service that changes.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) clients: usize,
    /// Changes of that service, one after the other.
    #[arg(long, default_value_t = 30)]
    pub(crate) changes: u32,
    /// Where JSON goes; nowhere by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args: Args = match exit::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed("bench", format_args!("{error:#}"), Fault::Runtime),
    }
}

fn run(args: &Args) -> Result<()> {
    // A connection of each client has two ends, and both programs inherit the limit.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("RLIMIT_NOFILE")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut report = Report::default();
    for services in &args.services {
        let _ = writeln!(std::io::stderr(), "bench: {services} services");
        report.add(runtime.block_on(measure::cluster(args, *services))?);
    }
    writeln!(std::io::stdout(), "{}", report.table()).context("standard output")?;
    if let Some(path) = &args.out {
        report.write(path)?;
    }
    Ok(())
}
