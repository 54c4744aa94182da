//! Runs external programs, all through one function, so that every failure reports the same: what
//! was run, how it ended, what it said.

use std::{
    ffi::OsStr,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// An external program that is missing or failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program is not installed.
    #[error("{program} is not installed; on Debian and Ubuntu: apt-get install {package}")]
    Missing {
        /// Name of the program.
        program: String,
        /// Debian package that holds it.
        package: &'static str,
    },
    /// The program could not be started or talked to.
    #[error("cannot run {program}: {source}")]
    Start {
        /// Name of the program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The program ended with a failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote to standard error.
        stderr: String,
    },
}

/// Programs the playground runs, with the Debian package of each.
pub const REQUIRED: [(&str, &str); 2] = [("ip", "iproute2"), ("iptables-restore", "iptables")];

/// Runs `program`, feeds it `input` and returns its standard output.
///
/// # Errors
/// If the program is missing, cannot be started, or ends with a failure.
pub fn run(program: &str, args: &[&str], input: &str) -> Result<String, CommandError> {
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
) -> Result<String, CommandError> {
    let start = |source: io::Error| {
        let program = program.to_owned();
        match (source.kind(), package_of(&program)) {
            (io::ErrorKind::NotFound, Some(package)) => CommandError::Missing { program, package },
            _ => CommandError::Start { program, source },
        }
    };
    let mut child = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        // Ctrl-C is for the playground, which then needs these commands to clean up.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading its input says why on its own.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(CommandError::Failed {
        command: std::iter::once(program)
            .chain(args.iter().copied())
            .collect::<Vec<_>>()
            .join(" "),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Looks for every program the playground runs.
///
/// # Errors
/// Names the first that is missing.
pub fn require_all() -> Result<(), CommandError> {
    for (program, package) in REQUIRED {
        if find(program).is_none() {
            return Err(CommandError::Missing {
                program: program.to_owned(),
                package,
            });
        }
    }
    Ok(())
}

/// Where `program` is on the `PATH`.
#[must_use]
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn package_of(program: &str) -> Option<&'static str> {
    REQUIRED
        .iter()
        .find(|(name, _)| *name == program)
        .map(|(_, package)| *package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_was_run_and_what_it_said() {
        let error = run("sh", &["-c", "cat >&2; exit 3"], "no such thing").expect_err("fails");
        let text = error.to_string();
        assert!(text.contains("sh -c cat >&2; exit 3"), "{text}");
        assert!(
            text.contains("no such thing") && text.contains('3'),
            "{text}"
        );
    }

    #[test]
    fn output_is_returned() {
        assert_eq!(run("cat", &[], "text").expect("cat"), "text");
    }
}
