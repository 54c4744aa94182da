//! What tells one series from another.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use hashbrown::Equivalent;
use weir_api::workload::Workload;

use crate::info::{GrpcStatus, Outcome};

/// Which side of a call reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    /// The client's sidecar.
    Source,
    /// The server's.
    Destination,
}

/// How both sides are secured towards each other, as far as the one that reports knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Security {
    /// As Istio has it, a client's sidecar does not say.
    Unknown,
    /// They are not.
    None,
    /// Both have shown a certificate.
    MutualTls,
}

/// What was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Http,
    Grpc,
    Tcp,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Kind {
    pub(crate) protocol: Protocol,
    /// Status of the response; 0 if there was none.
    pub(crate) response_code: u16,
    /// Of a call of gRPC, if it had one.
    pub(crate) grpc_status: Option<GrpcStatus>,
    /// Response flags in Envoy's order, as far as there are any.
    pub(crate) flags: [&'static str; 3],
}

/// An end of a call that is not this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct End<'a> {
    pub(crate) workload: Option<&'a Workload>,
    /// Its SPIFFE identity, by its certificate.
    pub(crate) principal: Option<&'a str>,
}

/// What tells one series from another, borrowed from the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    pub(crate) side: Side,
    pub(crate) peer: End<'a>,
    /// The SPIFFE identity of this process, by the certificate that it has shown.
    pub(crate) own_principal: Option<&'a str>,
    /// Host of the service, or what stands for it: `dest-app.ns.svc.cluster.local`.
    pub(crate) service: &'a str,
    pub(crate) security: Security,
    pub(crate) kind: Kind,
}

/// The same, kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) side: Side,
    pub(super) workload: Option<Workload>,
    pub(super) principal: Option<Box<str>>,
    pub(super) own_principal: Option<Box<str>>,
    pub(super) service: Box<str>,
    pub(super) security: Security,
    pub(super) kind: Kind,
}

// === impl Key ===

impl Key<'_> {
    pub(super) fn keep(&self) -> Kept {
        Kept {
            side: self.side,
            workload: self.peer.workload.cloned(),
            principal: self.peer.principal.map(Into::into),
            own_principal: self.own_principal.map(Into::into),
            service: self.service.into(),
            security: self.security,
            kind: self.kind,
        }
    }
}

/// Of what most often tells them apart: the rest is compared when a series is found.
impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.service.hash(state);
        let workload = self.peer.workload.map(|workload| &workload.name);
        workload.hash(state);
        self.kind.response_code.hash(state);
    }
}

impl Equivalent<Arc<Kept>> for Key<'_> {
    fn equivalent(&self, kept: &Arc<Kept>) -> bool {
        *self == kept.key()
    }
}

// === impl Kept ===

impl Kept {
    pub(super) fn key(&self) -> Key<'_> {
        Key {
            side: self.side,
            peer: End {
                workload: self.workload.as_ref(),
                principal: self.principal.as_deref(),
            },
            own_principal: self.own_principal.as_deref(),
            service: &self.service,
            security: self.security,
            kind: self.kind,
        }
    }
}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

// === impl Kind ===

impl Kind {
    /// Of a request that ended so.
    pub(crate) fn request(outcome: &Outcome, is_grpc: bool) -> Self {
        Self {
            protocol: if is_grpc {
                Protocol::Grpc
            } else {
                Protocol::Http
            },
            response_code: outcome.response_code,
            grpc_status: outcome.grpc_status.filter(|_| is_grpc),
            flags: outcome.response_flags(),
        }
    }

    /// Of a connection that carries no requests.
    pub(crate) fn connection(outcome: &Outcome) -> Self {
        Self {
            protocol: Protocol::Tcp,
            response_code: 0,
            grpc_status: None,
            flags: outcome.response_flags(),
        }
    }
}
