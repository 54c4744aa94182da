//! The run directory: what a playground made, written down before it is made, so that the next run
//! can remove what a killed one left behind. Only what is written there is ever touched.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    kubelet::process::Joinable,
    netns,
};

/// Where run directories are, unless told otherwise.
pub const ROOT: &str = "/run/weir-playground";
/// Prefix of the network namespaces of every playground.
pub const PREFIX: &str = "weir-";
/// File that describes a run within its directory.
const STATE: &str = "state.json";

/// One run of a playground, on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Short random name of the run; part of the names of its namespaces.
    pub id: String,
    /// Process that owns the run.
    pub owner: Process,
    /// Network namespaces of the run, the node's first.
    pub namespaces: Vec<String>,
    /// Pods of the run.
    pub pods: Vec<RunningPod>,
}

/// A process, told apart from a later one with the same id by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    pub started: u64,
}

/// What other commands need to know of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningPod {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Address of the pod.
    pub ip: std::net::Ipv4Addr,
    /// Network namespace of the pod.
    pub netns: String,
    /// Containers, the application's first.
    pub containers: Vec<String>,
}

/// A program to run in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The container.
    pub joinable: Joinable,
    /// Program and arguments.
    pub argv: Vec<String>,
}

/// The run directory of this process's playground; removing it is the last thing a run does.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    state: State,
}

// === impl Run ===

impl Run {
    /// Makes a run directory under `root`.
    ///
    /// # Errors
    /// If the directory cannot be made or written.
    pub fn create(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::file("create", root))?;
        let owner = Process::current()?;
        let mut seed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.subsec_nanos())
            ^ owner.pid.unsigned_abs();
        let (id, dir) = loop {
            let id = format!("{:04x}", (seed >> 4) & 0xffff);
            let dir = root.join(&id);
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => break (id, dir),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    seed = seed.wrapping_mul(0x9e37_79b1).wrapping_add(1);
                }
                // Another run that ended at this moment has removed the empty root.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(root).map_err(Error::file("create", root))?;
                }
                Err(source) => return Err(Error::file("create", dir)(source)),
            }
        };
        let state = State {
            id,
            owner,
            namespaces: Vec::new(),
            pods: Vec::new(),
        };
        let run = Self { dir, state };
        run.save()?;
        Ok(run)
    }

    /// Directory of the run.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What has been written down.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Reserves the network namespace of `what`, to be made next.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn namespace(&mut self, what: &str) -> Result<String> {
        let name = format!("{PREFIX}{}-{what}", self.state.id);
        self.state.namespaces.push(name.clone());
        self.save()?;
        Ok(name)
    }

    /// Writes down a pod.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn add_pod(&mut self, pod: RunningPod) -> Result<()> {
        self.state.pods.push(pod);
        self.save()
    }

    /// Ends every process in the run's namespaces, then removes those and the directory.
    ///
    /// # Errors
    /// If something cannot be removed; the rest is removed all the same.
    pub fn remove(&self) -> Result<()> {
        remove(&self.dir, &self.state)
    }

    fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.state)
            .map_err(|error| Error::file("write", &self.dir)(error.into()))?;
        let (file, new) = (self.dir.join(STATE), self.dir.join(".state.json.new"));
        fs::write(&new, text).map_err(Error::file("write", &new))?;
        fs::rename(&new, &file).map_err(Error::file("write", &file))
    }
}

/// Removes what dead runs under `root` left behind, and returns their names.
///
/// # Errors
/// If something cannot be removed.
pub fn remove_dead(root: &Path) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for (dir, state) in read_all(root) {
        if !state.owner.is_alive() {
            remove(&dir, &state)?;
            removed.push(state.id);
        }
    }
    Ok(removed)
}

/// Every live run under `root`, newest last.
#[must_use]
pub fn live(root: &Path) -> Vec<(PathBuf, State)> {
    let mut runs = read_all(root);
    runs.retain(|(_, state)| state.owner.is_alive());
    runs.sort_by_key(|(_, state)| state.owner.started);
    runs
}

/// Every run under `root`, dead or alive.
#[must_use]
pub fn read_all(root: &Path) -> Vec<(PathBuf, State)> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let dir = entry.path();
            let text = fs::read(dir.join(STATE)).ok()?;
            Some((dir, serde_json::from_slice(&text).ok()?))
        })
        .collect()
}

fn remove(dir: &Path, state: &State) -> Result<()> {
    let mut first_error = None;
    for name in state
        .namespaces
        .iter()
        .filter(|name| name.starts_with(PREFIX))
    {
        end_processes(name);
        if let Err(error) = netns::delete(name) {
            first_error.get_or_insert(error);
        }
    }
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        first_error.get_or_insert(Error::file("remove", dir)(error));
    }
    // Left to other runs if there are any.
    if let Some(root) = dir.parent() {
        let _ = fs::remove_dir(root);
    }
    first_error.map_or(Ok(()), Err)
}

/// Ends the processes of a namespace of ours and waits until the kernel has let go of them. The
/// owner of a run is not among them: its threads enter namespaces, its main thread does not.
fn end_processes(namespace: &str) {
    let own = std::process::id();
    for _ in 0..50 {
        let mut pids = netns::pids(namespace);
        pids.retain(|pid| pid.unsigned_abs() != own);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

// === impl Process ===

impl Process {
    /// This process.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn current() -> Result<Self> {
        let pid = nix::unistd::getpid().as_raw();
        let started = start_time(pid).ok_or_else(|| {
            Error::file("read", format!("/proc/{pid}/stat"))(io::ErrorKind::InvalidData.into())
        })?;
        Ok(Self { pid, started })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // A zombie has ended; only its parent has not looked yet.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_run_is_kept_and_a_dead_one_removed() {
        let root = tempfile::tempdir().expect("directory");
        let run = Run::create(root.path()).expect("run");
        assert!(remove_dead(root.path()).expect("clean").is_empty());
        assert_eq!(live(root.path()).len(), 1);

        let mut dead = Run::create(root.path()).expect("run");
        dead.state.owner.started += 1;
        dead.save().expect("save");
        assert_eq!(
            remove_dead(root.path()).expect("clean"),
            [dead.state.id.clone()]
        );
        assert!(!dead.dir.exists() && run.dir.exists());
    }

    #[test]
    fn foreign_directories_are_left_alone() {
        let root = tempfile::tempdir().expect("directory");
        fs::create_dir(root.path().join("other")).expect("directory");
        assert!(remove_dead(root.path()).expect("clean").is_empty());
        assert!(root.path().join("other").exists());
    }
}
