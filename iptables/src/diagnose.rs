//! Finds out what a backend lacks after it refused the rules, and says what to do.

use std::{fmt, fs, io};

use socket2::{Domain, Protocol, Socket, Type};
use weir_process::command::CommandError;

use crate::{
    backend::{Backend, Tools},
    family::Family,
};

/// What the commands print without the right to change rules.
const DENIALS: [&str; 2] = ["Permission denied", "Operation not permitted"];

/// A backend that could not be used, and why.
#[derive(Debug)]
pub struct Attempt {
    /// The backend.
    pub backend: Backend,
    /// The family.
    pub family: Family,
    /// What it said.
    pub error: CommandError,
    /// What that means.
    pub missing: Missing,
}

/// What a backend lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The commands.
    Commands,
    /// The right to change rules.
    Permission,
    /// The right to open raw sockets, which the legacy commands need beside it.
    RawSockets,
    /// Something of the kernel's.
    Piece(Piece),
    /// Nothing that could be found.
    Unknown,
}

/// A piece of the kernel that the rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The nat table.
    NatTable,
    /// Matching TCP ports.
    TcpMatch,
    /// Redirecting.
    RedirectTarget,
    /// Matching the user and group of a packet's socket.
    OwnerMatch,
}

/// Release of the running kernel, such as `6.18.44`.
#[must_use]
pub fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(
        |_| "of unknown version".to_owned(),
        |release| release.trim().to_owned(),
    )
}

fn raw_sockets_allowed() -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    !Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).is_err_and(|error| denied(&error))
}

// === impl Attempt ===

impl Attempt {
    /// The commands of `backend` could not be found.
    #[must_use]
    pub fn without_commands(backend: Backend, family: Family, error: CommandError) -> Self {
        let missing = match error {
            CommandError::NotFound { .. } => Missing::Commands,
            _ => Missing::Unknown,
        };
        Self {
            backend,
            family,
            error,
            missing,
        }
    }

    /// `tools` failed: tries each piece by itself, in a transaction that leaves nothing.
    #[must_use]
    pub fn diagnosed(tools: &Tools, family: Family, error: CommandError) -> Self {
        let legacy = tools.backend() == Backend::Legacy;
        let missing = if matches!(error, CommandError::NotFound { .. }) {
            Missing::Commands
        } else if legacy && !raw_sockets_allowed() {
            Missing::RawSockets
        } else if DENIALS.iter().any(|denial| error.stderr().contains(denial)) {
            Missing::Permission
        } else {
            let mut pieces = Piece::ALL.into_iter();
            let lacking = pieces.find(|piece| tools.restore(&piece.trial()).is_err());
            lacking.map_or(Missing::Unknown, Missing::Piece)
        };
        Self {
            backend: tools.backend(),
            family,
            error,
            missing,
        }
    }

    fn advice(&self) -> String {
        match self.missing {
            Missing::Commands => format!(
                "there is no {}-restore for this backend in PATH: install the package iptables",
                self.family.command()
            ),
            Missing::Permission => "the right to change rules is missing: run as root with the \
                                    capability NET_ADMIN in this network namespace"
                .to_owned(),
            Missing::RawSockets => "the capability NET_RAW is missing, which this backend needs \
                                    beside NET_ADMIN"
                .to_owned(),
            Missing::Piece(piece) => {
                let modules = piece.modules(self.backend, self.family);
                format!(
                    "{piece} is missing in the kernel: on the node run 'modprobe -a {modules}' \
                     and name these modules in /etc/modules-load.d/weir.conf"
                )
            }
            Missing::Unknown => "what is missing cannot be told".to_owned(),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, error, .. } = self;
        write!(f, "backend {backend}: {error}; {}", self.advice())
    }
}

// === impl Piece ===

impl Piece {
    /// Each needs those before it.
    const ALL: [Self; 4] = [
        Self::NatTable,
        Self::TcpMatch,
        Self::RedirectTarget,
        Self::OwnerMatch,
    ];

    /// Makes and removes a chain that uses this piece.
    fn trial(self) -> String {
        let rule = match self {
            Self::NatTable => "-A WEIR_TRIAL -j RETURN",
            Self::TcpMatch => "-A WEIR_TRIAL -p tcp -m tcp --dport 1 -j RETURN",
            Self::RedirectTarget => "-A WEIR_TRIAL -p tcp -j REDIRECT --to-ports 1",
            Self::OwnerMatch => "-A WEIR_TRIAL -m owner --uid-owner 1 -j RETURN",
        };
        format!("*nat\n:WEIR_TRIAL - [0:0]\n{rule}\n-F WEIR_TRIAL\n-X WEIR_TRIAL\nCOMMIT\n")
    }

    fn modules(self, backend: Backend, family: Family) -> &'static str {
        match (self, backend, family) {
            (Self::NatTable, Backend::NfTables, _) => "nf_tables nft_chain_nat nf_nat",
            (Self::NatTable, Backend::Legacy, Family::V4) => "ip_tables iptable_nat",
            (Self::NatTable, Backend::Legacy, Family::V6) => "ip6_tables ip6table_nat",
            (Self::TcpMatch, Backend::NfTables, _) => "nft_compat xt_tcpudp",
            (Self::TcpMatch, Backend::Legacy, _) => "xt_tcpudp",
            (Self::RedirectTarget, Backend::NfTables, _) => "nft_compat nft_redir xt_REDIRECT",
            (Self::RedirectTarget, Backend::Legacy, _) => "xt_REDIRECT",
            (Self::OwnerMatch, Backend::NfTables, _) => "nft_compat xt_owner",
            (Self::OwnerMatch, Backend::Legacy, _) => "xt_owner",
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NatTable => "the nat table",
            Self::TcpMatch => "the match tcp",
            Self::RedirectTarget => "the target REDIRECT",
            Self::OwnerMatch => "the match owner",
        })
    }
}
