//! The two sides of the kernel that iptables can speak to, and the commands for each.

use std::{fmt, fs, process::Command};

use weir_process::command::{CommandError, LIMIT, execute};

use crate::{family::Family, saved::Saved};

/// Lock of the legacy commands where `/run` cannot be written, as in a container with a read-only
/// root. Containers have `/dev/shm` of their own, and in a pod nobody else changes rules.
const LOCK_FILE: &str = "/dev/shm/weir-xtables.lock";

/// Which side of the kernel rules are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// `nf_tables`, what distributions use now.
    NfTables,
    /// `ip_tables`, what old kernels have.
    Legacy,
}

/// The commands for one backend and one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    backend: Backend,
    family: Family,
    /// Such as `ip6tables-nft`.
    prefix: String,
}

// === impl Backend ===

impl Backend {
    /// Both, the one to be tried first at the front.
    pub const ALL: [Self; 2] = [Self::NfTables, Self::Legacy];

    fn suffix(self) -> &'static str {
        match self {
            Self::NfTables => "nft",
            Self::Legacy => "legacy",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NfTables => "nf_tables",
            Self::Legacy => "legacy",
        })
    }
}

// === impl Tools ===

impl Tools {
    /// Finds the commands: those named after the backend, else the plain ones if their version
    /// says that they are of this backend.
    pub fn find(backend: Backend, family: Family) -> Result<Self, CommandError> {
        let tools = |prefix| Self {
            backend,
            family,
            prefix,
        };
        let named = tools(format!("{}-{}", family.command(), backend.suffix()));
        let Err(missing) = named.version() else {
            return Ok(named);
        };
        let plain = tools(family.command().to_owned());
        match plain.version() {
            Ok(version) if version.contains("nf_tables") == (backend == Backend::NfTables) => {
                Ok(plain)
            }
            _ => Err(missing),
        }
    }

    fn version(&self) -> Result<String, CommandError> {
        execute(self.command("restore").arg("--version"), "", LIMIT)
    }

    /// Which backend they are for.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What the family and backend have in force.
    pub fn save(&self) -> Result<Saved, CommandError> {
        let text = execute(&mut self.command("save"), "", LIMIT)?;
        Ok(Saved::parse(&text))
    }

    /// Puts the text in force, all of a table or nothing.
    pub fn restore(&self, text: &str) -> Result<(), CommandError> {
        let mut command = self.command("restore");
        command.arg("--noflush");
        if self.backend == Backend::Legacy {
            // Another iptables may hold the lock for a moment. nf_tables has none.
            command.arg("--wait=30");
        }
        match execute(&mut command, text, LIMIT) {
            Err(error) if error.stderr().contains("lock file") => {
                execute(command.env("XTABLES_LOCKFILE", LOCK_FILE), text, LIMIT)
            }
            other => other,
        }?;
        Ok(())
    }

    fn command(&self, what: &str) -> Command {
        Command::new(format!("{}-{what}", self.prefix))
    }

    /// Whether asking can find anything. The legacy commands load the kernel's module when asked,
    /// so they are not asked where this namespace has no table.
    #[must_use]
    pub fn may_have_rules(&self) -> bool {
        let names = match (self.backend, self.family) {
            (Backend::NfTables, _) => return true,
            (Backend::Legacy, Family::V4) => "ip_tables_names",
            (Backend::Legacy, Family::V6) => "ip6_tables_names",
        };
        let names = fs::read_to_string(format!("/proc/thread-self/net/{names}"));
        names.is_ok_and(|names| !names.trim().is_empty())
    }
}
