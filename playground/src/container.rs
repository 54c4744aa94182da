//! A container: one process with the network namespace, files, user and capabilities that its pod
//! spec asks for.
//!
//! The playground writes a [`ContainerSpec`] to a file and starts `weir playground-exec FILE`. That
//! process, still single-threaded, turns itself into the container with [`become_container`]: it
//! enters the pod's network namespace, assembles a root directory ([`rootfs`]), gives up its
//! privileges and executes the program.

use std::{
    convert::Infallible,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal::Signal},
    unistd::{Gid, Uid, setgid, setgroups, setuid},
};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    kubelet::process::Joinable,
};

pub mod rootfs;

/// Everything a process needs to know to become a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// File of the pod's network namespace.
    pub netns: PathBuf,
    /// Host name, which is the pod's name.
    pub hostname: String,
    /// Directory on which the root is assembled.
    pub scratch: PathBuf,
    /// Files and directories of the machine that appear in the container.
    pub mounts: Vec<rootfs::Mount>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory; `/` where absent.
    pub working_dir: Option<PathBuf>,
    /// Who the program runs as.
    pub identity: Identity,
}

/// User, groups and privileges of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities the container may have, such as `NET_ADMIN`. They take effect for uid 0.
    pub capabilities: Vec<String>,
    /// Whether the program may gain privileges by executing a set-uid program.
    pub allow_privilege_escalation: bool,
}

/// Capabilities of a container that asks for nothing, as container runtimes grant them.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Turns this process, which must have one thread, into the container of `spec`.
///
/// # Errors
/// If the kernel refuses a step or the program cannot be executed.
pub fn become_container(spec: &ContainerSpec) -> Result<Infallible> {
    let netns = File::open(&spec.netns).map_err(Error::file("open", &spec.netns))?;
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(Error::system("enter the pod's network"))?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .map_err(Error::system("make a mount namespace"))?;
    nix::unistd::sethostname(&spec.hostname).map_err(Error::system("set the host name"))?;
    rootfs::assemble(&spec.scratch, &spec.mounts)?;
    execute(
        &spec.argv,
        &spec.env,
        spec.working_dir.as_deref(),
        &spec.identity,
    )
}

/// Turns this process, which must have one thread, into one more process of a container.
///
/// # Errors
/// As [`become_container`].
pub fn join_container(joinable: &Joinable, argv: &[String]) -> Result<Infallible> {
    let pid = joinable.pid;
    for (file, flag) in [
        ("net", CloneFlags::CLONE_NEWNET),
        ("uts", CloneFlags::CLONE_NEWUTS),
        // Last: after it this /proc is the container's.
        ("mnt", CloneFlags::CLONE_NEWNS),
    ] {
        let path = PathBuf::from(format!("/proc/{pid}/ns/{file}"));
        let namespace = File::open(&path).map_err(Error::file("open", &path))?;
        setns(namespace, flag).map_err(Error::system(format!("enter {}", path.display())))?;
    }
    execute(argv, &joinable.env, None, &joinable.identity)
}

fn execute(
    argv: &[String],
    env: &[(String, String)],
    working_dir: Option<&Path>,
    identity: &Identity,
) -> Result<Infallible> {
    let working_dir = working_dir.unwrap_or(Path::new("/"));
    std::env::set_current_dir(working_dir).map_err(Error::file("enter", working_dir))?;
    drop_privileges(identity)?;
    let [program, args @ ..] = argv else {
        return Err(Error::system("execute nothing")(std::io::Error::from(
            std::io::ErrorKind::InvalidInput,
        )));
    };
    let error = Command::new(program)
        .args(args)
        .env_clear()
        .envs(env.iter().cloned())
        .exec();
    Err(Error::file("execute", program)(error))
}

fn drop_privileges(identity: &Identity) -> Result<()> {
    for capability in CapabilitySet::all().iter() {
        if !keeps(identity, capability) {
            match remove_capability_from_bounding_set(capability) {
                // A kernel older than the capability does not know it, and so does not grant it.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(Error::system("drop a capability")(error)),
            }
        }
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(Error::system("set groups"))?;
    setgid(Gid::from_raw(identity.gid)).map_err(Error::system("set the group"))?;
    setuid(Uid::from_raw(identity.uid)).map_err(Error::system("set the user"))?;
    if !identity.allow_privilege_escalation {
        prctl::set_no_new_privs().map_err(Error::system("give up new privileges"))?;
    }
    // After setuid, which clears it: nothing of a playground outlives the playground.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::system("follow the parent's end"))
}

/// Whether `identity` names `capability`, whose own name is `CAP_` and that of the pod spec.
fn keeps(identity: &Identity, capability: CapabilitySet) -> bool {
    let name = capability.iter_names().next().map_or("", |(name, _)| name);
    identity
        .capabilities
        .iter()
        .any(|kept| kept == "ALL" || kept == name)
}
