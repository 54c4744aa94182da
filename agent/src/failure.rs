//! How a command ends: 0, 1 where the machine is at fault, 64 where the command line or the
//! configuration is.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration.
    Usage(anyhow::Error),
    /// The machine.
    Runtime(anyhow::Error),
}

/// Reports what the parser of the command line says, which may be the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Where the terminal is gone nobody reads it.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// Reports a failure and gives the exit status.
pub(crate) fn exit_code(result: Result<(), Failure>) -> ExitCode {
    let (code, error) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => (ExitCode::from(USAGE), error),
        Err(Failure::Runtime(error)) => (ExitCode::FAILURE, error),
    };
    let _ = writeln!(io::stderr(), "error: {error:#}");
    code
}

// === impl Failure ===

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}
