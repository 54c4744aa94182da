//! A playground from the first namespace to the last: brings it up, carries out what follows from
//! the cluster's objects, and leaves nothing behind.

use std::{
    fmt, fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use weir_process::command::CommandError;

use crate::{
    cluster::{Cluster, LivePod, PodKey, PodStatus, live::LiveObjects},
    command,
    container::rootfs::Mount,
    dns::{self, SharedZone},
    error::{Error, Result},
    image::Programs,
    netns,
    node::Node,
    run::{self, Run, RunningPod},
};

pub mod control;
pub mod pods;
mod signals;

use pods::Pods;

/// Told what happens while a playground is built up.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// How to make a playground.
#[derive(Clone)]
pub struct Options {
    /// Weir's programs.
    pub programs: Programs,
    /// Directory of run directories, [`run::ROOT`] unless a test wants its own.
    pub root: PathBuf,
    /// Told what happens.
    pub progress: Progress,
}

/// A playground that is up. All of its own sockets are in the node's network namespace.
pub struct Playground {
    shared: Arc<Shared>,
    pods: Pods,
}

/// What every part of a playground holds on to.
pub struct Shared {
    /// Weir's programs.
    pub programs: Programs,
    dir: PathBuf,
    progress: Progress,
    run: Mutex<Run>,
    node: Mutex<Node>,
    cluster: Mutex<Cluster>,
    live: Mutex<LiveObjects>,
    zone: SharedZone,
    lent: Mutex<Vec<(PodKey, Mount)>>,
}

/// Removes the run however its thread ends.
struct Removal(Arc<Shared>);

/// Whether this machine and user can have a playground at all.
///
/// # Errors
/// Says what is missing.
pub fn check_requirements() -> Result<()> {
    let uid = nix::unistd::geteuid();
    if !uid.is_root() {
        return Err(Error::Permission { uid: uid.as_raw() });
    }
    command::require_all()
}

// === impl Options ===

impl Options {
    /// A playground of `programs` in the usual place that says nothing.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self {
            programs,
            root: PathBuf::from(run::ROOT),
            progress: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("programs", &self.programs)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

// === impl Playground ===

impl Playground {
    /// Makes an empty playground, does `work` in it, and removes it, whether `work` ends, fails or
    /// a signal (SIGINT, SIGTERM, SIGHUP) interrupts it: then the result is `None`.
    ///
    /// # Errors
    /// Those of `work`, and what keeps a playground from being made or removed.
    pub fn run<T, E, F>(options: Options, work: F) -> std::result::Result<Option<T>, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: AsyncFnOnce(&Self) -> std::result::Result<T, E> + Send + 'static,
    {
        check_requirements()?;
        for id in run::remove_dead(&options.root)? {
            (options.progress)(&format!("removed what run {id} left behind"));
        }
        let thread = thread::Builder::new()
            .name("playground".to_owned())
            .spawn(move || Self::run_here(options, work))
            .map_err(Error::system("start a thread"))?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn run_here<T, E, F>(options: Options, work: F) -> std::result::Result<Option<T>, E>
    where
        E: From<Error>,
        F: AsyncFnOnce(&Self) -> std::result::Result<T, E>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::system("start the runtime"))?;
        // Before anything exists that a signal could leave behind.
        let mut interrupted = {
            let _guard = runtime.enter();
            signals::Interrupt::listen()?
        };
        let shared = Arc::new(Shared::create(options)?);
        let removal = Removal(Arc::clone(&shared));
        netns::enter(shared.node().name())?;
        let result = runtime.block_on(async {
            dns::serve(shared.zone.clone()).await?;
            let playground = Self {
                shared: Arc::clone(&shared),
                pods: Pods::default(),
            };
            let result = tokio::select! {
                result = work(&playground) => result.map(Some),
                () = interrupted.wait() => Ok(None),
            };
            playground.pods.stop_all().await;
            result
        });
        drop(runtime);
        let removed = shared.remove();
        drop(removal);
        let value = result?;
        removed?;
        Ok(value)
    }

    /// What every part of the playground holds on to.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

// === impl Removal ===

impl Drop for Removal {
    fn drop(&mut self) {
        // Whoever could be told has been; this is for the ways out that tell nobody.
        let _ = self.0.remove();
    }
}

// === impl Shared ===

impl Shared {
    fn create(options: Options) -> Result<Self> {
        let mut run = Run::create(&options.root)?;
        let dir = run.dir().to_owned();
        let result = (|| {
            // Only root gets as far as the run directory; what is lent to pods is open to them.
            for (name, mode) in [
                ("objects", 0o755),
                ("settings", 0o755),
                ("certs", 0o1777),
                ("pods", 0o755),
            ] {
                make_dir(&dir.join(name), mode)?;
            }
            let name = run.namespace("node")?;
            Node::create(&name, &dir.join("xtables.lock")).map_err(|error| match error {
                Error::Command(CommandError::Failed { stderr, .. }) => Error::NoNamespaces {
                    reason: stderr.trim().to_owned(),
                },
                other => other,
            })
        })();
        let node = match result {
            Ok(node) => node,
            Err(error) => {
                let _ = run.remove();
                return Err(error);
            }
        };
        let shared = Self {
            programs: options.programs,
            live: Mutex::new(LiveObjects::new(&dir.join("objects"))),
            dir,
            progress: options.progress,
            run: Mutex::new(run),
            node: Mutex::new(node),
            cluster: Mutex::new(Cluster::default()),
            zone: SharedZone::default(),
            lent: Mutex::new(Vec::new()),
        };
        let published = shared.publish();
        if published.is_err() {
            let _ = shared.remove();
        }
        published.map(|()| shared)
    }

    /// The objects.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        lock(&self.cluster)
    }

    fn node(&self) -> MutexGuard<'_, Node> {
        lock(&self.node)
    }

    /// Directory of the run.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Directory of a pod.
    #[must_use]
    pub fn pod_dir(&self, key: &PodKey) -> PathBuf {
        pod_dir(&self.dir, &key.namespace, &key.name)
    }

    /// Says what happens.
    pub fn say(&self, text: &str) {
        (self.progress)(text);
    }

    /// A pod as it is now.
    #[must_use]
    pub fn pod(&self, key: &PodKey) -> Option<LivePod> {
        self.cluster().pods.get(key).cloned()
    }

    /// What is mounted in a pod's containers beside its volumes.
    #[must_use]
    pub fn lent(&self, key: &PodKey) -> Vec<Mount> {
        lock(&self.lent)
            .iter()
            .filter(|(to, _)| to == key)
            .map(|(_, mount)| mount.clone())
            .collect()
    }

    /// Mounts a directory of the run in every container of a pod that is yet to start.
    pub fn lend(&self, key: &PodKey, mount: Mount) {
        lock(&self.lent).push((key.clone(), mount));
    }

    /// Changes a pod's status and carries out what follows from it.
    ///
    /// # Errors
    /// If that cannot be carried out.
    pub fn set_status(&self, key: &PodKey, change: impl FnOnce(&mut PodStatus)) -> Result<()> {
        {
            let mut cluster = self.cluster();
            let Some(pod) = cluster.pods.get_mut(key) else {
                return Ok(());
            };
            let before = pod.status;
            change(&mut pod.status);
            if pod.status == before {
                return Ok(());
            }
        }
        self.publish()
    }

    /// Makes network, DNS and the files for the control plane follow the objects.
    ///
    /// # Errors
    /// If one of them cannot.
    pub fn publish(&self) -> Result<()> {
        let cluster = self.cluster();
        lock(&self.live).write(&cluster)?;
        self.zone.replace(cluster.zone());
        self.node().route_services(&cluster.service_ports())
    }

    /// Makes a network namespace for a pod or host and wires it to the node.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn attach(&self, what: &str, address: Ipv4Addr) -> Result<String> {
        let name = lock(&self.run).namespace(what)?;
        self.node().attach(&name, address)?;
        Ok(name)
    }

    /// Writes down a pod for other commands to find.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn record(&self, pod: RunningPod) -> Result<()> {
        lock(&self.run).add_pod(pod)
    }

    /// Network namespace of a pod.
    #[must_use]
    pub fn netns_of(&self, key: &PodKey) -> Option<String> {
        let run = lock(&self.run);
        let pods = &run.state().pods;
        let found = pods
            .iter()
            .find(|pod| pod.namespace == key.namespace && pod.name == key.name);
        found.map(|pod| pod.netns.clone())
    }

    fn remove(&self) -> Result<()> {
        lock(&self.run).remove()
    }
}

/// Directory of a pod within a run directory.
#[must_use]
pub fn pod_dir(run: &Path, namespace: &str, name: &str) -> PathBuf {
    run.join("pods").join(format!("{namespace}.{name}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is plain data that is never left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_dir(dir: &Path, mode: u32) -> Result<()> {
    fs::create_dir(dir).map_err(Error::file("create", dir))?;
    // Whatever the umask is.
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
        .map_err(Error::file("set permissions of", dir))
}
