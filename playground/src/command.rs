//! The programs of this machine that the playground runs.

use std::{ffi::OsStr, os::unix::process::CommandExt, path::PathBuf, process::Command};

use weir_process::command::{CommandError, LIMIT, execute};

use crate::error::{Error, Result};

/// Programs the playground runs, with the Debian package of each.
pub const REQUIRED: [(&str, &str); 2] = [("ip", "iproute2"), ("iptables-restore", "iptables")];

/// Runs `program`, feeds it `input` and returns its standard output.
///
/// # Errors
/// If the program is missing, cannot be started, or ends with a failure.
pub fn run(program: &str, args: &[&str], input: &str) -> Result<String> {
    run_with_env(program, args, input, &[])
}

/// As [`run`], with environment variables added.
///
/// # Errors
/// As [`run`].
pub fn run_with_env(
    program: &str,
    args: &[&str],
    input: &str,
    env: &[(&str, &OsStr)],
) -> Result<String> {
    let mut command = Command::new(program);
    // Ctrl-C is for the playground, which then needs these commands to clean up.
    command
        .args(args)
        .envs(env.iter().copied())
        .process_group(0);
    execute(&mut command, input, LIMIT).map_err(|error| match (&error, package_of(program)) {
        (CommandError::NotFound { .. }, Some(package)) => missing(program, package),
        _ => Error::Command(error),
    })
}

/// Looks for every program the playground runs.
///
/// # Errors
/// Names the first that is missing.
pub fn require_all() -> Result<()> {
    let mut lacking = REQUIRED
        .iter()
        .filter(|(program, _)| find(program).is_none());
    match lacking.next() {
        Some((program, package)) => Err(missing(program, package)),
        None => Ok(()),
    }
}

/// Where `program` is on the `PATH`.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn package_of(program: &str) -> Option<&'static str> {
    let mut required = REQUIRED.iter();
    required
        .find(|(name, _)| *name == program)
        .map(|(_, package)| *package)
}

fn missing(program: &str, package: &'static str) -> Error {
    Error::MissingProgram {
        program: program.to_owned(),
        package,
    }
}
