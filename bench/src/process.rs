//! A process that was started here: what it used so far, and its end.

use std::{fs, path::PathBuf, process::Child, time::Duration};

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    },
    unistd::Pid,
};

/// Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process(Child);

/// Resident memory, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) u64);

/// Ties the calling thread, and what it starts, to one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores).with_context(|| format!("core {core}"))
}

/// CPU time of all processes started here that have ended.
pub(crate) fn cpu_of_ended() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Ok(Duration::from_micros(
        micros.iter().sum::<i64>().unsigned_abs(),
    ))
}

// === impl Process ===

impl Process {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    /// CPU time of all threads it has, user and system. From the scheduler, which counts
    /// nanoseconds; `/proc/PID/stat` counts ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        let tasks = self.directory().join("task");
        for task in fs::read_dir(&tasks).with_context(|| tasks.display().to_string())? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path)
                .with_context(|| format!("{} (CONFIG_SCHED_INFO)", path.display()))?;
            let first = text.split(' ').next().unwrap_or_default();
            nanoseconds += first
                .parse::<u64>()
                .with_context(|| format!("{}: {text}", path.display()))?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let path = self.directory().join("status");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
        kib.map(Memory).context("VmRSS")
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from("/proc").join(self.0.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is as wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
