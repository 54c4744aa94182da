//! How a program of ours ends: 0 done, 1 where the machine is at fault, 64 where the command line or the
//! configuration is.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

/// Exit status of a command line or a configuration that cannot be used: `EX_USAGE` of sysexits(3).
pub const USAGE: u8 = 64;

/// Who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever wrote the command line or the configuration.
    Usage,
    /// The machine, or another program.
    Runtime,
}

/// Reads the command line. The status to end with where it is wrong, which was said then, or where it
/// asked for help, which was printed.
///
/// # Errors
/// There is nothing to run.
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    P::try_parse().map_err(|error| {
        // Where the terminal is gone nobody reads it.
        let _ = error.print();
        if error.use_stderr() {
            Fault::Usage.into()
        } else {
            ExitCode::SUCCESS
        }
    })
}

/// Says on standard error why `program` could not do it, and gives the status to end with.
#[must_use]
pub fn failed(program: &str, error: impl fmt::Display, fault: Fault) -> ExitCode {
    let _ = writeln!(io::stderr(), "{program}: {error}");
    fault.into()
}

// === impl Fault ===

impl From<Fault> for ExitCode {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Usage => Self::from(USAGE),
            Fault::Runtime => Self::FAILURE,
        }
    }
}
