//! The one function that runs external commands.

use std::{
    fmt,
    io::{self, Write},
    process::{Command, ExitStatus, Stdio},
    thread,
};

/// A command that did not run, or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such program.
    #[error("{argv}: not found in PATH")]
    NotFound {
        /// What was to be run.
        argv: Argv,
    },
    /// It could not be started or waited for.
    #[error("{argv}: cannot be run")]
    Io {
        /// What was to be run.
        argv: Argv,
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("{argv}: {status}{}{}", said("stderr", stderr), said("stdout", stdout))]
    Failed {
        /// What was run.
        argv: Argv,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        stdout: String,
        /// What it complained about.
        stderr: String,
    },
}

/// A program and its arguments, printed as a shell would take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(Vec<String>);

/// Runs `program`, feeds it `input`, and gives back what it printed.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, CommandError> {
    let argv = || {
        Argv(
            [&[program], arguments]
                .concat()
                .iter()
                .map(ToString::to_string)
                .collect(),
        )
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CommandError::NotFound { argv: argv() },
        _ => CommandError::Io {
            argv: argv(),
            source,
        },
    };
    tracing::debug!(argv = %argv(), input, "running a command");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // A command that ends before it has read everything says why in its status.
            let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
        });
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    tracing::debug!(argv = %argv(), status = %output.status, stdout, stderr, "ran a command");
    if output.status.success() {
        return Ok(stdout);
    }
    Err(CommandError::Failed {
        argv: argv(),
        status: output.status,
        stdout,
        stderr,
    })
}

fn said(stream: &str, text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!("; {stream}: {}", text.replace('\n', " / ")),
    }
}

// === impl CommandError ===

impl CommandError {
    /// What the command complained about, if it ran.
    #[must_use]
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } => stderr,
            Self::NotFound { .. } | Self::Io { .. } => "",
        }
    }
}

// === impl Argv ===

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                write!(f, "{space}{word}")?;
            } else {
                write!(f, "{space}{word:?}")?;
            }
        }
        Ok(())
    }
}
