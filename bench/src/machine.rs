//! Where and when a run was made.

use std::{fs, process::Command, thread, time::SystemTime};

use serde::Serialize;
use weir_process::command::{LIMIT, execute};

/// What a figure depends on beside the programs.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// UTC.
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Of the repository the benchmark was run in.
    pub(crate) commit: String,
    /// Load average when the run began: others on the machine.
    pub(crate) load: String,
}

// === impl Machine ===

impl Machine {
    pub(crate) fn this() -> Self {
        let first = |path, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let mut lines = text.lines();
            let line = lines.find(|line| line.starts_with(key)).unwrap_or_default();
            let value = line.split_once(':').map_or(line, |(_, value)| value);
            value.trim().to_owned()
        };
        Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            processor: first("/proc/cpuinfo", "model name"),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: first("/proc/sys/kernel/osrelease", ""),
            commit: git(&["describe", "--always", "--dirty", "--abbrev=12"]),
            load: first("/proc/loadavg", ""),
        }
    }
}

/// Empty outside a repository.
fn git(arguments: &[&str]) -> String {
    let output = execute(Command::new("git").args(arguments), "", LIMIT);
    output.unwrap_or_default().trim().to_owned()
}
