//! One container's process, started again when it ends as its restart policy asks.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    container::{ContainerSpec, Identity},
    error::{Error, Result},
};

/// Back-off of restarts: the kubelet's 10 s to 5 min, for people who are watching.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// A process that ran this long starts over with the shortest back-off.
const RAN_WELL: Duration = Duration::from_secs(30);

/// How often to look whether a container's program has been executed.
const EXECUTE_POLL: Duration = Duration::from_millis(2);

/// When a container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Always,
    /// When it failed.
    OnFailure,
    /// Never.
    Never,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not started yet, or about to be started again.
    Waiting,
    /// Its process runs.
    Running(i32),
    /// It has ended for good, with this exit code.
    Ended(i32),
}

/// What `weir exec` needs to join a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joinable {
    /// Process of the container.
    pub pid: i32,
    /// Environment of the container.
    pub env: Vec<(String, String)>,
    /// Who the container runs as.
    pub identity: Identity,
}

/// A container that is being looked after.
#[derive(Debug)]
pub struct Process {
    state: watch::Receiver<State>,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

struct Supervisor {
    weir: PathBuf,
    files: Files,
    env: Vec<(String, String)>,
    identity: Identity,
    restart: Restart,
    state: watch::Sender<State>,
    stop: watch::Receiver<Option<Duration>>,
}

/// Files of a container in its pod's directory.
#[derive(Debug, Clone)]
pub struct Files {
    /// What it is made of.
    pub spec: PathBuf,
    /// What it printed.
    pub log: PathBuf,
    /// How to join it.
    pub joinable: PathBuf,
}

// === impl Files ===

impl Files {
    /// The files of container `name` of the pod whose directory is `dir`.
    #[must_use]
    pub fn of(dir: &Path, name: &str) -> Self {
        let file = |extension: &str| dir.join(format!("{name}.{extension}"));
        Self {
            spec: file("spec.json"),
            log: file("log"),
            joinable: file("pid.json"),
        }
    }
}

// === impl Process ===

impl Process {
    /// Starts a container and looks after it until it ends for good.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn start(
        weir: &Path,
        spec: &ContainerSpec,
        files: Files,
        restart: Restart,
    ) -> Result<Self> {
        let text = serde_json::to_vec_pretty(spec)
            .map_err(|error| Error::file("write", &files.spec)(error.into()))?;
        fs::write(&files.spec, text).map_err(Error::file("write", &files.spec))?;
        fs::create_dir_all(&spec.scratch).map_err(Error::file("create", &spec.scratch))?;
        let (state_sender, state) = watch::channel(State::Waiting);
        let (stop, stop_receiver) = watch::channel(None);
        let supervisor = Supervisor {
            weir: weir.to_owned(),
            files,
            env: spec.env.clone(),
            identity: spec.identity.clone(),
            restart,
            state: state_sender,
            stop: stop_receiver,
        };
        let task = tokio::spawn(supervisor.run());
        Ok(Self { state, stop, task })
    }

    /// Where the container is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits until the container has ended for good, and returns its exit code.
    pub async fn ended(&self) -> i32 {
        let mut state = self.state.clone();
        // The sender goes away only after it has said so.
        match state
            .wait_for(|state| matches!(state, State::Ended(_)))
            .await
            .as_deref()
        {
            Ok(State::Ended(code)) => *code,
            _ => 137,
        }
    }

    /// Waits until the container runs or has ended.
    pub async fn started(&self) {
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| *state != State::Waiting).await;
    }

    /// Sends SIGTERM, and SIGKILL after `grace`; returns when the container has ended.
    pub async fn stop(self, grace: Duration) {
        let _ = self.stop.send(Some(grace));
        let _ = self.task.await;
    }

    /// Ends the process at once; the restart policy decides what comes next.
    pub fn crash(&self) {
        if let State::Running(pid) = self.state() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

// === impl Supervisor ===

impl Supervisor {
    async fn run(mut self) {
        let mut back_off = BACK_OFF.0;
        loop {
            let began = Instant::now();
            let code = match self.spawn() {
                Ok(child) => self.watch(child).await,
                Err(error) => {
                    // The log is where people look for what a container says.
                    let _ = fs::write(&self.files.log, format!("{error}\n"));
                    127
                }
            };
            let again = match self.restart {
                Restart::Always => true,
                Restart::OnFailure => code != 0,
                Restart::Never => false,
            };
            if !again || self.stop.borrow().is_some() {
                self.state.send_replace(State::Ended(code));
                return;
            }
            self.state.send_replace(State::Waiting);
            if began.elapsed() > RAN_WELL {
                back_off = BACK_OFF.0;
            }
            tokio::select! {
                () = sleep(back_off) => {}
                _ = self.stop.wait_for(Option::is_some) => {}
            }
            back_off = (back_off * 2).min(BACK_OFF.1);
        }
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.files.log);
        let log: File = log.map_err(Error::file("open", &self.files.log))?;
        let errors = log
            .try_clone()
            .map_err(Error::file("open", &self.files.log))?;
        Command::new(&self.weir)
            .arg("playground-exec")
            .arg(&self.files.spec)
            .env_clear()
            // Ctrl-C is for the playground, which ends its containers in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(Error::file("execute", &self.weir))
    }

    /// Waits for the process to end, or ends it when asked to; its exit code as a shell gives it.
    async fn watch(&mut self, mut child: Child) -> i32 {
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .unwrap_or_default();
        if let Some(code) = until_executed(&mut child, pid).await {
            return code;
        }
        let joinable = Joinable {
            pid,
            env: self.env.clone(),
            identity: self.identity.clone(),
        };
        if let Ok(text) = serde_json::to_vec(&joinable) {
            let _ = fs::write(&self.files.joinable, text);
        }
        self.state.send_replace(State::Running(pid));
        let status = tokio::select! {
            status = child.wait() => status,
            grace = asked_to_stop(&mut self.stop) => {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                if let Ok(status) = timeout(grace, child.wait()).await {
                    status
                } else {
                    let _ = child.kill().await;
                    child.wait().await
                }
            }
        };
        let _ = fs::remove_file(&self.files.joinable);
        exit_code(status)
    }
}

/// Waits until the process has become the container's program, or has ended: then its exit code.
/// It begins with no environment, and every container has one.
async fn until_executed(child: &mut Child, pid: i32) -> Option<i32> {
    let environment = format!("/proc/{pid}/environ");
    while fs::read(&environment).is_ok_and(|bytes| bytes.is_empty()) {
        if let Ok(status) = timeout(EXECUTE_POLL, child.wait()).await {
            return Some(exit_code(status));
        }
    }
    None
}

/// The exit code as a shell gives it.
fn exit_code(status: std::io::Result<std::process::ExitStatus>) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.map_or(137, |status| {
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    })
}

async fn asked_to_stop(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        // Nobody is left to ask: the playground is ending.
        Err(_) => Duration::ZERO,
    }
}
