//! The only program in a pod: capture, run, proxy, wait.

mod capture;
mod failure;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;
use tracing_subscriber::EnvFilter;
use weir_api::sidecar;

/// Weir in a pod: captures its traffic and carries it.
#[derive(Debug, Parser)]
#[command(name = "weir-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged, such as `info` or `weir_proxy=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = sidecar::env::LOG, default_value = "info")]
    log: String,
}

// One variant, one module with `Args` and `main`, one arm in `main` below.
#[derive(Debug, Subcommand)]
enum Command {
    Capture(capture::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let result = log_to_stderr(&cli.log).and_then(|()| match cli.command {
        Command::Capture(args) => capture::main(&args),
    });
    failure::exit_code(result)
}

fn log_to_stderr(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| Failure::Usage(error.into()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
