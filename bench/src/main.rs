//! What Weir costs beside Envoy and HAProxy, measured on this machine: `make bench`.
//!
//! Each scenario runs every proxy in turn, several rounds interleaved, so that what the machine does
//! meanwhile hits all alike. The figure that counts is CPU time per unit of work, as a ratio.

mod args;
mod backend;
mod chart;
mod load;
mod machine;
mod measure;
mod peer;
mod pods;
mod process;
mod report;
mod scenario;
mod scenarios;
mod speed;

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Uid,
};
use weir_process::exit::{self, Fault};

use crate::{args::Args, measure::Bench, report::Report};

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
    ensure!(
        Uid::effective().is_root(),
        "network namespaces and iptables need root: run this command with sudo"
    );
    let peers = peer::find(args)?;
    allow_descriptors()?;
    let mut bench = Bench::new(args, &peers)?;
    let mut report = Report::new(&peers, args, bench.speed()?)?;
    for scenario in args.scenarios() {
        // A whole run takes minutes.
        let _ = writeln!(std::io::stderr(), "bench: {}", scenario.title);
        report.add(scenario, bench.run(scenario));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report.table()).context("standard output")?;
    if let Some(directory) = args.out.as_ref().filter(|_| args.is_whole()) {
        for path in report.write(directory)? {
            writeln!(out, "{}", path.display()).context("standard output")?;
        }
    }
    let failed = report.failures();
    if !failed.is_empty() {
        bail!("no figure for what failed:\n  {}", failed.join("\n  "));
    }
    Ok(())
}

/// As many descriptors as are allowed, for this process and for the proxies, which inherit it.
fn allow_descriptors() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("RLIMIT_NOFILE")
}
