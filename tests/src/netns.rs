//! Network namespaces for tests: made by `ip netns`, removed when dropped, entered by a thread of
//! their own, so that tests run side by side in one process.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::Result;
use nix::{
    sched::{CloneFlags, setns},
    unistd::Uid,
};
use weir_process::command::{LIMIT, execute};

use crate::skip::{Need, skip};

/// Names start with this and the id of the process that made them, so that the namespaces of a
/// test run that was killed can be told and removed by the next one.
const PREFIX: &str = "weir-t-";

/// A network namespace with `lo` up. Dropping it removes it.
#[derive(Debug)]
pub struct NetNs {
    name: String,
}

/// Whether this machine lets the test make namespaces. Says `SKIP` and why where it does not,
/// and fails the test instead where `REQUIRE_NETNS=1`.
///
/// # Panics
/// Where namespaces are required and not to be had.
#[must_use]
pub fn available() -> bool {
    let reason = if !Uid::effective().is_root() {
        "network namespaces need root"
    } else if ip(&["-V"]).is_err() {
        "network namespaces need the command ip (Debian: apt-get install iproute2)"
    } else {
        return true;
    };
    skip(Need::Namespaces, reason);
    false
}

/// Keeps the other tests of this process waiting while it is held. For tests that listen on a fixed
/// port more than once: a command another test starts at the wrong moment holds a copy of every
/// socket until it is executed, and so keeps a port that was just closed.
pub fn exclusively() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A test that failed has nothing here to have left broken.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `ip` with these arguments in the current namespace.
pub fn ip(arguments: &[&str]) -> Result<String> {
    Ok(execute(Command::new("ip").args(arguments), "", LIMIT)?)
}

// === impl NetNs ===

impl NetNs {
    /// Makes a namespace whose name nobody else uses, and brings its `lo` up.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_orphans();
        }
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Name, as `ip netns exec` takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// File that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `ip` with these arguments inside.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        ip(&[&["-n", self.name.as_str()], arguments].concat())
    }

    /// A command that runs inside, to be given arguments and started by the caller.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `body` inside, on a thread of its own, and waits for it. Sockets and processes it
    /// makes stay in the namespace. Read `/proc/thread-self/net`, never `/proc/net`, in there.
    ///
    /// # Panics
    /// Where `body` does, or where the namespace cannot be entered.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let enter = || -> Result<()> {
            let file = File::open(self.path())?;
            Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
        };
        let inside = || {
            enter().expect("enter the namespace");
            body()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Joins this namespace to `peer` by a pair of virtual interfaces, both named `name`, and
    /// gives each end its addresses (with prefix lengths). IPv6 addresses are usable at once.
    pub fn link(&self, name: &str, ours: &[&str], peer: &Self, theirs: &[&str]) -> Result<()> {
        self.ip(&[
            "link", "add", name, "type", "veth", "peer", "name", name, "netns", &peer.name,
        ])?;
        for (end, addresses) in [(self, ours), (peer, theirs)] {
            for address in addresses {
                // No duplicate detection: the address would be unusable for a second.
                let nodad: &[&str] = if address.contains(':') {
                    &["nodad"]
                } else {
                    &[]
                };
                end.ip(&[&["addr", "add", address, "dev", name], nodad].concat())?;
            }
        }
        self.ip(&["link", "set", name, "up"])?;
        peer.ip(&["link", "set", name, "up"])?;
        Ok(())
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        // A namespace that is gone already is as wanted.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Removes what test processes that no longer run have left.
fn remove_orphans() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}
