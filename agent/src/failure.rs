//! Why a command of the agent did not do what it was asked to.

use std::process::ExitCode;

use weir_process::exit::{self, Fault};

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration.
    Usage(anyhow::Error),
    /// The machine.
    Runtime(anyhow::Error),
}

/// Reports a failure and gives the exit status.
pub(crate) fn exit_code(result: Result<(), Failure>) -> ExitCode {
    let (fault, error) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => (Fault::Usage, error),
        Err(Failure::Runtime(error)) => (Fault::Runtime, error),
    };
    exit::failed("weir-agent", format_args!("{error:#}"), fault)
}

// === impl Failure ===

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}
