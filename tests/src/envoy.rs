//! Real Envoy, the peer of many tests.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use weir_process::command::{CommandError, LIMIT, execute};

use crate::{running::Running, skip};

/// A running Envoy; it ends when dropped.
#[derive(Debug)]
pub struct Envoy {
    running: Running,
    directory: TempDir,
}

/// Whether this machine has it. Says `SKIP` where it has not.
///
/// # Panics
/// Where peers are required.
#[must_use]
pub fn available() -> bool {
    skip::has("envoy")
}

/// Whether it would run with this bootstrap; else what it says is wrong.
///
/// # Errors
/// It refuses the bootstrap, or cannot be run.
pub fn accepts(bootstrap: &Path) -> Result<(), CommandError> {
    let mut command = Command::new("envoy");
    command.args(["--mode", "validate", "-c"]).arg(bootstrap);
    execute(&mut command, "", LIMIT).map(drop)
}

// === impl Envoy ===

impl Envoy {
    /// Starts it with this bootstrap, and one worker.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(bootstrap: &str) -> Result<Self> {
        Self::start_by(Command::new("envoy"), bootstrap)
    }

    /// The same by a command that runs `envoy` with the arguments it is given, such as in a namespace.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_by(mut command: Command, bootstrap: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("weir-envoy-")?;
        let file = directory.path().join("bootstrap.yaml");
        fs::write(&file, bootstrap).context("bootstrap")?;
        let log = File::create(directory.path().join("log")).context("log")?;
        // One machine, many tests: the shared memory of the hot restarter would be of all.
        command.args(["--disable-hot-restart", "--concurrency", "1"]);
        // Whoever reads a log does not wait the 10 s that lines otherwise may.
        command.args(["--file-flush-interval-msec", "100"]);
        command.args(["-l", "warning", "-c"]).arg(&file);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(Self {
            running: Running::start(&mut command)?,
            directory,
        })
    }

    /// A size of its memory in KiB, as /proc/PID/status calls it.
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(&self, name: &str) -> Result<u64> {
        self.running.memory(name)
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}
