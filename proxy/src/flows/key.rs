//! What tells one flow from another.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use hashbrown::Equivalent;

use super::{Flow, FlowProtocol, FlowVerdict};

/// What tells one flow from another, borrowed from what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    /// SPIFFE identity of the caller, by its certificate.
    pub(super) principal: Option<&'a str>,
    pub(super) port: u16,
    pub(super) protocol: FlowProtocol,
    pub(super) verdict: FlowVerdict,
    /// One of [`METHODS`]; empty where it is none of them, or there is none.
    pub(super) method: &'static str,
    /// A template; empty where there is none.
    pub(super) path: &'a str,
}

/// The same, kept.
#[derive(Debug)]
pub(super) struct Kept {
    principal: Option<Box<str>>,
    port: u16,
    protocol: FlowProtocol,
    verdict: FlowVerdict,
    method: &'static str,
    path: Box<str>,
}

/// Methods that are told apart: those of RFC 9110 and RFC 5789.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// The method as flows tell it; empty if it is none that they tell apart.
pub(super) fn method(of: &str) -> &'static str {
    let found = METHODS.iter().find(|known| **known == of);
    found.copied().unwrap_or_default()
}

// === impl Key ===

impl Key<'_> {
    pub(super) fn keep(&self) -> Kept {
        Kept {
            principal: self.principal.map(Into::into),
            port: self.port,
            protocol: self.protocol,
            verdict: self.verdict,
            method: self.method,
            path: self.path.into(),
        }
    }
}

impl Equivalent<Arc<Kept>> for Key<'_> {
    fn equivalent(&self, kept: &Arc<Kept>) -> bool {
        *self == kept.key()
    }
}

// === impl Kept ===

impl Kept {
    fn key(&self) -> Key<'_> {
        Key {
            principal: self.principal.as_deref(),
            port: self.port,
            protocol: self.protocol,
            verdict: self.verdict,
            method: self.method,
            path: &self.path,
        }
    }

    /// As it is told, with nothing counted.
    pub(super) fn flow(&self) -> Flow {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Flow {
            source: self.principal.as_deref().map(str::to_owned),
            port: self.port,
            protocol: self.protocol,
            method: said(self.method),
            path: said(&self.path),
            verdict: self.verdict,
            count: 0,
        }
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
