//! The command people type: `weir demo`, `weir echo`, and commands into a running playground.

use std::process::ExitCode;

use weir_process::exit::{self, Fault};

mod args;
mod call;
mod check;
mod cluster;
mod demo;
mod echo;
mod graph;
mod inject;
mod meshed;
mod objects;
mod output;
mod pods;
mod policy;
mod proxy_config;
mod proxy_status;
mod reach;

fn main() -> ExitCode {
    let args: args::Args = match exit::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    args.command.run(&args.run_root).unwrap_or_else(|error| {
        let known = error.downcast_ref::<weir_playground::Error>();
        let fault = match known.is_some_and(weir_playground::Error::is_usage) {
            true => Fault::Usage,
            false => Fault::Runtime,
        };
        exit::failed("weir", format_args!("{error:#}"), fault)
    })
}
