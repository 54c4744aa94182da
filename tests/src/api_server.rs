//! A real API server for tests: etcd, kube-apiserver and the controller manager that `make setup` has
//! built, or those of the directory that `KUBEBUILDER_ASSETS` names, on this machine's loopback or in
//! a network namespace of their own.
//!
//! There are no kubelets: Deployments make pods, and those stay pending until a test writes their
//! status ([`ApiServer::run_pod`]).

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use weir_process::command::execute;

use crate::{
    netns::NetNs,
    skip::{Need, skip},
};

mod audit;
mod credentials;
mod objects;
mod process;
mod start;

pub use audit::Request;
pub use objects::Namespace;
use process::Process;

/// Where an API server of our own runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this machine's loopback. Its webhooks can be reached by URL only.
    Machine,
    /// In a network namespace of its own, where [`ApiServer::serve_service`] makes the addresses of
    /// Services reachable. Needs root.
    Namespace,
}

/// A running API server. Dropping it ends what was started for it.
#[derive(Debug)]
pub struct ApiServer {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// In the order in which they end.
    processes: Vec<Process>,
    netns: Option<NetNs>,
    controllers: bool,
    /// Kubeconfigs, certificates, logs and data. Last, so that it outlives who writes there.
    dir: TempDir,
}

/// A directory with programs of an API server.
#[derive(Debug, Clone)]
struct Assets(PathBuf);

/// Where `make setup` puts the programs it builds, and those it installs.
const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.make/cluster/bin");
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.make/venv/bin");

/// What `kubectl` may take: some of its commands wait for what controllers do.
const KUBECTL: Duration = Duration::from_secs(300);

// === impl ApiServer ===

impl ApiServer {
    /// One API server for all tests of this process: one of the programs that `KUBEBUILDER_ASSETS`
    /// names, else the cluster that `KUBECONFIG` names, else one of the programs that `make setup` has
    /// built. Only for tests that keep to namespaces they make and remove. `None`, after a visible
    /// `SKIP`, where there is none of them.
    ///
    /// # Panics
    /// Where one is named and does not work, or is required (`REQUIRE_API_SERVER=1`) and missing.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<ApiServer>> = OnceLock::new();
        let own = |assets| start::start(&assets, Place::Machine).expect("start an API server");
        let given = || Self::given().expect("use the cluster that KUBECONFIG names");
        let made = SHARED.get_or_init(|| {
            Assets::named()
                .map(own)
                .or_else(given)
                .or_else(|| Assets::built().map(own))
        });
        if made.is_none() {
            let reason = "there is no API server (make setup, KUBEBUILDER_ASSETS or KUBECONFIG)";
            skip(Need::ApiServer, reason);
        }
        made.as_ref()
    }

    /// An API server of the test's own, to do with as it pleases. `None`, after a visible `SKIP`, where
    /// its programs are missing or the machine makes no network namespaces.
    ///
    /// # Panics
    /// Where the programs are there and do not work, or are required and missing.
    #[must_use]
    pub fn start(place: Place) -> Option<Self> {
        let Some(assets) = Assets::named().or_else(Assets::built) else {
            let reason = "there are no etcd and kube-apiserver (make setup or KUBEBUILDER_ASSETS)";
            skip(Need::ApiServer, reason);
            return None;
        };
        if place == Place::Namespace && !crate::netns::available() {
            return None;
        }
        Some(start::start(&assets, place).expect("start an API server"))
    }

    /// Kubeconfig of a cluster administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The network namespace it runs in, where it has one.
    #[must_use]
    pub fn netns(&self) -> Option<&NetNs> {
        self.netns.as_ref()
    }

    /// Whether the controller manager runs: Deployments make pods, Services get EndpointSlices.
    /// Where it does not (there is none in the assets), pods need no ServiceAccount.
    #[must_use]
    pub fn has_controllers(&self) -> bool {
        self.controllers
    }

    /// Ends kube-apiserver as a crash would, starts it again on what etcd has, and waits until it is
    /// ready. Only for an API server of the test's own.
    pub fn restart(&mut self) -> Result<()> {
        let mut processes = self.processes.iter_mut();
        let server = processes.find(|process| process.is("kube-apiserver"));
        let server = server.context("the API server is not ours")?;
        server.restart(self.netns.as_ref(), self.dir.path())?;
        self.await_ready()
    }

    /// Directory for files of the test, gone with the API server.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A command that can reach the API server, with `KUBECONFIG` set to the administrator's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let mut command = match &self.netns {
            Some(netns) => netns.command(&program.to_string_lossy()),
            None => Command::new(program),
        };
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs `kubectl` as administrator and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// Runs `kubectl` with `input` on its standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.command(&self.kubectl);
        Ok(execute(command.args(arguments), input, KUBECTL)?)
    }

    /// The cluster that `KUBECONFIG` names, if it does.
    fn given() -> Result<Option<Self>> {
        let Some(kubeconfig) = env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let server = Self {
            kubeconfig: kubeconfig.into(),
            kubectl: kubectl(),
            processes: Vec::new(),
            netns: None,
            controllers: true,
            dir: TempDir::with_prefix("weir-api-")?,
        };
        server.kubectl(&["get", "--raw", "/readyz"])?;
        Ok(Some(server))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.end();
        }
    }
}

// === impl Assets ===

impl Assets {
    /// Those of the directory that `KUBEBUILDER_ASSETS` names.
    fn named() -> Option<Self> {
        Self::of(env::var_os("KUBEBUILDER_ASSETS")?.into())
    }

    /// Those that `make setup` has built.
    fn built() -> Option<Self> {
        Self::of(BUILT.into())
    }

    fn of(dir: PathBuf) -> Option<Self> {
        let complete = ["etcd", "kube-apiserver"]
            .iter()
            .all(|program| dir.join(program).is_file());
        complete.then_some(Self(dir))
    }

    /// Path of a program, if it is there.
    fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.0.join(name)).filter(|path| path.is_file())
    }
}

/// The `kubectl` that `make setup` has installed, else the one of `PATH`.
fn kubectl() -> PathBuf {
    let installed = Path::new(INSTALLED).join("kubectl");
    if installed.is_file() {
        installed
    } else {
        "kubectl".into()
    }
}
