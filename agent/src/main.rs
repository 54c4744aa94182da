//! The only program in a pod: capture, run, proxy, wait.

mod capture;
mod concurrency;
mod failure;
mod limits;
mod logging;
mod memory;
mod open_files;
mod proxy;
mod run;
mod shutdown;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logging::Logging;
use weir_api::sidecar;
use weir_process::exit;

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
    Capture(Box<capture::Args>),
    Proxy(proxy::Args),
    Run(Box<run::Args>),
    Wait(wait::Args),
}

fn main() -> ExitCode {
    let cli: Cli = match exit::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let result = Logging::start(&cli.log).and_then(|logging| match cli.command {
        Command::Capture(args) => capture::main(&args),
        Command::Proxy(args) => proxy::main(&args, logging),
        Command::Run(args) => run::main(&args, logging),
        Command::Wait(args) => wait::main(&args),
    });
    failure::exit_code(result)
}
