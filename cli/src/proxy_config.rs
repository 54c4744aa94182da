//! `weir proxy-config`: the configuration of a proxy, to read or to start one with.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod envoy;

#[derive(Debug, Args)]
pub(crate) struct ProxyConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a bootstrap with which real Envoy is a client of the control plane
    Bootstrap(envoy::BootstrapArgs),
}

pub(crate) fn run(args: &ProxyConfigArgs) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Bootstrap(args) => envoy::run(args),
    }
}
