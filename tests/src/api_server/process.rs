//! A program that ends with the test, even where the test is killed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::netns::NetNs;

/// Runs a program until its own standard input ends, which happens when whoever started it drops its end
/// of the pipe or dies; then kills the program and removes the directory `$1`, if one is given.
const KEEPER: &str = r#"
exec 3<&0
dir=$1; shift
"$@" 3<&- </dev/null & program=$!
( read -r _; kill -9 "$program"; [ -z "$dir" ] || rm -rf "$dir" ) <&3 2>/dev/null & watcher=$!
exec 3<&-
wait "$program"; status=$?
[ "$status" = 137 ] && wait "$watcher" || kill "$watcher" 2>/dev/null
exit "$status"
"#;

/// A running program and the shell that keeps it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    keeper: Child,
}

// === impl Process ===

impl Process {
    /// Starts `program`, which writes to `<dir>/<name>.log`.
    pub(super) fn start(
        netns: Option<&NetNs>,
        program: &Path,
        arguments: &[String],
        dir: &Path,
        leftover: Option<&Path>,
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = dir.join(format!("{name}.log"));
        let mut command = match netns {
            Some(netns) => netns.command("sh"),
            None => Command::new("sh"),
        };
        command
            .args(["-c", KEEPER, "keeper"])
            .arg(leftover.unwrap_or(Path::new("")))
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let keeper = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self {
            name: name.into_owned(),
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            log,
            keeper,
        })
    }

    /// Whether it is that program.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Ends it as a crash would, and starts it again as it was. It may not be who clears away.
    pub(super) fn restart(&mut self, netns: Option<&NetNs>, dir: &Path) -> Result<()> {
        self.end();
        *self = Self::start(netns, &self.program, &self.arguments, dir, None)?;
        Ok(())
    }

    /// Fails, with the end of what it printed, where it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.keeper.try_wait()? {
            bail!("{} ended ({status}): {}", self.name, self.last_words());
        }
        Ok(())
    }

    /// The end of what it printed.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Ends it and waits for that.
    pub(super) fn end(&mut self) {
        drop(self.keeper.stdin.take());
        // It was started by us, so waiting can only fail where that was done already.
        let _ = self.keeper.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
