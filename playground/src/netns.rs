//! Named network namespaces, made with `ip netns` so that people can enter them with
//! `ip netns exec`.

use std::{fs::File, path::PathBuf, thread};

use nix::sched::{CloneFlags, setns};

use crate::{
    command,
    error::{Error, Result},
};

/// Where `ip netns` keeps its names.
const DIR: &str = "/run/netns";

/// File of the namespace `name`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(DIR).join(name)
}

/// Makes the namespace `name` with its loopback up.
///
/// # Errors
/// If `ip` is missing or the kernel refuses.
pub fn create(name: &str) -> Result<()> {
    command::run("ip", &["netns", "add", name], "")?;
    command::run("ip", &["-n", name, "link", "set", "lo", "up"], "")?;
    Ok(())
}

/// Removes the namespace `name`, if it is there; its interfaces go with it.
///
/// # Errors
/// If `ip` is missing or the namespace cannot be removed.
pub fn delete(name: &str) -> Result<()> {
    if path(name).exists() {
        command::run("ip", &["netns", "del", name], "")?;
    }
    Ok(())
}

/// Processes whose network namespace is `name`.
#[must_use]
pub fn pids(name: &str) -> Vec<i32> {
    let output = command::run("ip", &["netns", "pids", name], "").unwrap_or_default();
    output
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Runs `ip` commands, one a line, inside the namespace `name`.
///
/// # Errors
/// If one of them fails; those before it have been carried out.
pub fn configure(name: &str, commands: &str) -> Result<()> {
    command::run("ip", &["-n", name, "-batch", "-"], commands)?;
    Ok(())
}

/// Moves this thread into the namespace `name`: sockets it makes from now on are of that namespace.
///
/// # Errors
/// If the namespace does not exist or the process may not enter it.
pub fn enter(name: &str) -> Result<()> {
    let path = path(name);
    let file = File::open(&path).map_err(Error::file("open", &path))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .map_err(Error::system(format!("enter network namespace {name}")))
}

/// Runs `work` on a thread of its own inside the namespace `name`.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn within<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let namespace = name.to_owned();
    let thread = thread::Builder::new()
        .name(namespace.clone())
        .spawn(move || enter(&namespace).map(|()| work()))
        .map_err(Error::system("start a thread"))?;
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
