//! The one way in which programs of others are run: bounded in time, and where one fails, the error says
//! what was run, how it ended and what it said.

use std::{
    ffi::OsStr,
    fmt, io,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

mod pipes;

/// What may be asked of a program that answers at once: far longer than any takes on a machine that
/// works.
pub const LIMIT: Duration = Duration::from_secs(60);

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
    /// It took too long, and was killed.
    #[error(
        "{argv}: did not end within {limit:?}{}{}",
        said("stderr", stderr),
        said("stdout", stdout)
    )]
    TimedOut {
        /// What was run.
        argv: Argv,
        /// What it was given.
        limit: Duration,
        /// What it had printed.
        stdout: String,
        /// What it had complained about.
        stderr: String,
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

/// How a program ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Runs the command to its end, with `input` on its standard input, and gives back what it printed.
///
/// # Errors
/// It cannot be run, takes longer than `limit`, or does not succeed.
pub fn execute(
    command: &mut Command,
    input: &str,
    limit: Duration,
) -> Result<String, CommandError> {
    let Output {
        status,
        stdout,
        stderr,
    } = output(command, input, limit)?;
    if status.success() {
        return Ok(stdout);
    }
    Err(CommandError::Failed {
        argv: Argv::of(command),
        status,
        stdout,
        stderr,
    })
}

/// As [`execute`], for a caller to whom failure is an answer, too.
///
/// # Errors
/// It cannot be run, or takes longer than `limit`.
pub fn output(command: &mut Command, input: &str, limit: Duration) -> Result<Output, CommandError> {
    let argv = Argv::of(command);
    tracing::debug!(%argv, input, "running a command");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = command
        .spawn()
        .and_then(|child| pipes::run(child, input.as_bytes(), limit));
    let (status, stdout, stderr) = match ended {
        Ok(ended) => ended,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return Err(CommandError::NotFound { argv });
        }
        Err(source) => return Err(CommandError::Io { argv, source }),
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let Some(status) = status else {
        return Err(CommandError::TimedOut {
            argv,
            limit,
            stdout,
            stderr,
        });
    };
    tracing::debug!(%argv, %status, stdout, stderr, "ran a command");
    Ok(Output {
        status,
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
            Self::Failed { stderr, .. } | Self::TimedOut { stderr, .. } => stderr,
            Self::NotFound { .. } | Self::Io { .. } => "",
        }
    }
}

// === impl Argv ===

impl Argv {
    fn of(command: &Command) -> Self {
        let words = [command.get_program()]
            .into_iter()
            .chain(command.get_args());
        Self(words.map(OsStr::to_string_lossy).map(Into::into).collect())
    }
}

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

#[cfg(test)]
mod tests;
