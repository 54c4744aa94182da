//! The command people type: `weir demo`, `weir echo`, and commands into a running playground.

use std::process::ExitCode;

use clap::Parser;

mod args;
mod call;
mod check;
mod cluster;
mod demo;
mod echo;
mod inject;
mod output;
mod pods;
mod proxy_config;
mod proxy_status;
mod reach;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match args.command.run(&args.run_root) {
        Ok(code) => code,
        Err(error) => {
            output::error(&format!("weir: {error:#}"));
            let known = error.downcast_ref::<weir_playground::Error>();
            ExitCode::from(known.map_or(1, weir_playground::Error::exit_code))
        }
    }
}
