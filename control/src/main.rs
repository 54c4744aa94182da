//! `weir-control`: parses, initialises, runs, exits.

use std::process::ExitCode;

use clap::Parser;
use weir_control::Config;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => return weir_control::exit::usage(&error),
    };
    weir_control::exit::code(weir_control::run_until_signal(config))
}
