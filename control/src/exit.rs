//! Exit codes: 0 drained, 64 wrong usage or configuration, 1 anything else.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::error::ErrorKind;

use crate::ControlError;

/// Wrong usage or configuration, as sysexits.h has it.
const USAGE: u8 = 64;

/// Prints what clap has to say: help and version are no errors.
#[must_use]
pub fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(USAGE),
    }
}

/// Prints an error, if there is one, and gives its exit code.
#[must_use]
pub fn code(result: Result<(), ControlError>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(io::stderr(), "weir-control: {error}");
    match error {
        ControlError::Config(_) => ExitCode::from(USAGE),
        ControlError::Bind { .. } | ControlError::System { .. } => ExitCode::FAILURE,
    }
}
