//! Why capture failed.

use std::{fmt, io};

use crate::{
    apply::Change,
    backend::Backend,
    diagnose::{self, Attempt},
    family::Family,
    rules::SpecError,
    verify::ProofError,
};

/// Why capture failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The specification asks for what is not to be had.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The wrong network namespace.
    #[error(
        "this is the machine's own network namespace (a pod with hostNetwork, or no pod at all): \
         capture would take the whole machine's traffic and is refused; where the machine is the \
         pod (a virtual machine for each pod), say --allow-host-network"
    )]
    HostNetwork,
    /// The namespace has no address at all.
    #[error("no address in this network namespace; is lo up? (ip link set lo up)")]
    NoLoopback,
    /// The namespace's addresses could not be read.
    #[error("cannot read the addresses of this network namespace")]
    Addresses(#[source] io::Error),
    /// `::6` could not be given to `lo`, or taken from it.
    #[error("cannot change the address ::6/128 of lo, which IPv6 capture needs (NET_ADMIN?)")]
    Lo(#[source] io::Error),
    /// No backend took the rules.
    #[error(
        "no {family} rules on kernel {}: {}",
        diagnose::kernel(),
        Attempts(attempts)
    )]
    Backends {
        /// The family.
        family: Family,
        /// Each backend with what it lacks.
        attempts: Vec<Attempt>,
    },
    /// What is in force could not be asked or removed.
    #[error(
        "cannot clean up on kernel {}: {}",
        diagnose::kernel(),
        Attempts(attempts)
    )]
    Cleanup {
        /// Each backend with what it lacks.
        attempts: Vec<Attempt>,
    },
    /// The rules are in force and do nothing.
    #[error(
        "{family} rules were accepted by backend {backend} on kernel {}, but do not act: another \
         program may translate addresses first (socket-level load balancing of Cilium: \
         socketLB.hostNamespaceOnly=true), or rules before ours end the chain; {}",
        diagnose::kernel(),
        kept(*change)
    )]
    Proof {
        /// The family.
        family: Family,
        /// The backend that has the rules.
        backend: Backend,
        /// What was done before.
        change: Change,
        /// What was seen.
        source: ProofError,
    },
}

struct Attempts<'a>(&'a [Attempt]);

fn kept(change: Change) -> &'static str {
    match change {
        Change::Made => "the rules were removed again",
        Change::None | Change::Replaced => "the rules stay, as some were there before",
    }
}

// === impl ApplyError ===

impl ApplyError {
    /// Whether it means that the family cannot be captured on this machine, by its nature.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Backends { .. } | Self::Lo(_))
    }

    /// Whether the person's configuration is at fault, rather than the machine.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Spec(_) | Self::HostNetwork)
    }
}

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attempt in self.0 {
            write!(f, "\n  {attempt}")?;
        }
        Ok(())
    }
}
