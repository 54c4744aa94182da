//! Programs that run beside a test and end with it.

use std::{
    fs,
    ops::{Deref, DerefMut},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result};
pub use nix::sys::signal::Signal;
use nix::{sys::signal::kill, unistd::Pid};

use crate::eventually::eventually;

/// A running program, killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

// === impl Running ===

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        Ok(Self(child.with_context(|| format!("{command:?}"))?))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended within `limit`.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        eventually(limit, || self.0.try_wait().ok().flatten()).context("it did not end")
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// A line of its `/proc/PID/status` in KiB, such as `VmRSS`.
    ///
    /// # Errors
    /// It has ended, or the kernel has no such line.
    pub fn memory(&self, name: &str) -> Result<u64> {
        memory(self.id(), name)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id().cast_signed())
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone, at best.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line of the status of a process in KiB, such as `VmRSS`.
///
/// # Errors
/// There is no such process, or no such line.
pub fn memory(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    let value = lines
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value);
    let kib = value
        .filter_map(|value| value.trim().strip_suffix(" kB"))
        .next();
    Ok(kib.with_context(|| format!("{name} in {path}"))?.parse()?)
}
