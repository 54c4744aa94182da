//! What sidecars tell of who did what at their pods: `/flows` of the admin interface.

use serde::{Deserialize, Serialize};

/// How long flows are remembered unless told otherwise, minutes.
pub const DEFAULT_MINUTES: u16 = 60;
/// The longest that they can be, minutes: a day, of which a flow takes 5 KiB of a worker.
pub const MAX_MINUTES: u16 = 1440;

/// Flows of the last minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSummary {
    /// How long flows are remembered, minutes.
    pub minutes: u64,
    /// In order.
    pub flows: Vec<Flow>,
    /// What there was no room for.
    pub not_kept: NotKept,
}

/// Requests, or connections that carry none, that have these things in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// SPIFFE identity of the caller, by its certificate; none: it has shown none.
    #[serde(default)]
    pub source: Option<String>,
    /// The port it came to.
    pub port: u16,
    /// What was spoken.
    pub protocol: FlowProtocol,
    /// Method of a request; none where it is an unusual one.
    #[serde(default)]
    pub method: Option<String>,
    /// Path of a request without its query, with `{*}` for a segment that was left out, and `{**}` at the
    /// end for any number of them.
    #[serde(default)]
    pub path: Option<String>,
    /// Whether rules let it through.
    pub verdict: FlowVerdict,
    /// How many there were.
    pub count: u64,
}

/// What was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowProtocol {
    /// HTTP, requests of gRPC aside.
    Http,
    /// gRPC.
    Grpc,
    /// Anything else: connections are counted.
    Tcp,
}

/// Whether rules let it through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowVerdict {
    /// They did.
    Allowed,
    /// They did not.
    Denied,
}

/// What there was no room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotKept {
    /// That was let through.
    pub allowed: u64,
    /// That was refused.
    pub denied: u64,
}

// === impl FlowVerdict ===

impl FlowVerdict {
    /// Of what was let through, or not.
    #[must_use]
    pub fn of(is_allowed: bool) -> Self {
        if is_allowed {
            Self::Allowed
        } else {
            Self::Denied
        }
    }
}
