//! The one function that runs external commands.

use std::{
    fmt,
    io::{self, Write},
    process::{Command, ExitStatus, Output, Stdio},
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

/// A command to be run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call<'a> {
    /// Looked for in PATH.
    pub program: &'a str,
    /// What follows it.
    pub arguments: &'a [&'a str],
    /// Variables set beside those of this process.
    pub environment: &'a [(&'a str, &'a str)],
    /// Fed to its standard input.
    pub input: &'a str,
}

/// Runs the command and gives back what it printed.
pub fn run(call: Call<'_>) -> Result<String, CommandError> {
    let argv = Argv::of(call);
    tracing::debug!(%argv, input = call.input, "running a command");
    let output = match execute(call) {
        Ok(output) => output,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return Err(CommandError::NotFound { argv });
        }
        Err(source) => return Err(CommandError::Io { argv, source }),
    };
    let status = output.status;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    tracing::debug!(%argv, %status, stdout, stderr, "ran a command");
    if status.success() {
        return Ok(stdout);
    }
    Err(CommandError::Failed {
        argv,
        status,
        stdout,
        stderr,
    })
}

fn execute(call: Call<'_>) -> io::Result<Output> {
    let mut child = Command::new(call.program)
        .args(call.arguments)
        .envs(call.environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            // A command that ends before it has read everything says why in its status.
            let _ = stdin.map(|mut stdin| stdin.write_all(call.input.as_bytes()));
        });
        child.wait_with_output()
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

impl Argv {
    fn of(call: Call<'_>) -> Self {
        let words = [call.program]
            .into_iter()
            .chain(call.arguments.iter().copied());
        Self(words.map(str::to_owned).collect())
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
