//! `weir-control`: parses, initialises, runs, exits.

use std::process::ExitCode;

use weir_control::{Config, ControlError};
use weir_process::exit::{self, Fault};

fn main() -> ExitCode {
    let config: Config = match exit::parse() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Err(error) = weir_control::run_until_signal(config) else {
        return ExitCode::SUCCESS;
    };
    let fault = match &error {
        ControlError::Config(_) => Fault::Usage,
        ControlError::Bind { .. } | ControlError::System { .. } => Fault::Runtime,
    };
    exit::failed("weir-control", error, fault)
}
