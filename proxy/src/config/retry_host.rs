//! Which hosts a retry may go to.

use serde_json::{Map, Value};

/// What a `RetryPolicy` says of the hosts of further attempts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostSelection {
    /// Not one that was tried (`envoy.retry_host_predicates.previous_hosts`).
    pub previous_hosts: bool,
    /// Not one whose metadata calls it a canary (`envoy.retry_host_predicates.omit_canary_hosts`).
    pub omit_canary_hosts: bool,
    /// Not one with this metadata (`envoy.retry_host_predicates.omit_host_metadata`).
    pub omit_host_metadata: Option<Map<String, Value>>,
    /// How often another one is looked for (`host_selection_retry_max_attempts`).
    pub max_attempts: u32,
    /// Priorities that were tried get nothing, seen anew after each so many attempts
    /// (`envoy.retry_priorities.previous_priorities`).
    pub previous_priorities: Option<u32>,
}

// === impl HostSelection ===

impl HostSelection {
    /// Whether some hosts are better than others.
    #[must_use]
    pub fn has_predicate(&self) -> bool {
        self.previous_hosts || self.omit_canary_hosts || self.omit_host_metadata.is_some()
    }
}
