//! `envoy.config.overload.v3.OverloadManager`: what is measured, and what is done when it is too much.

use std::time::Duration;

/// `overload_manager` of a bootstrap.
#[derive(Debug, Clone, PartialEq)]
pub struct OverloadManager {
    /// How often resources are measured.
    pub refresh_interval: Duration,
    /// What is measured.
    pub monitors: Vec<ResourceMonitor>,
    /// Downstream connections that may be open at a time, over all listeners and workers.
    pub max_active_downstream_connections: Option<u64>,
    /// What is done, each at most once.
    pub actions: Vec<OverloadAction>,
}

/// A resource of which the pressure is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceMonitor {
    /// Private memory of the process, of so many bytes.
    FixedHeap(u64),
    /// Memory of the cgroup, of so many bytes at most, and of the cgroup's limit.
    CgroupMemory(Option<u64>),
}

/// Something that is done under pressure.
#[derive(Debug, Clone, PartialEq)]
pub struct OverloadAction {
    /// What.
    pub kind: ActionKind,
    /// When: as far as any of these says.
    pub triggers: Vec<Trigger>,
}

/// What can be done under pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// Requests are answered 503.
    StopAcceptingRequests,
    /// HTTP connections end with their current requests.
    DisableHttpKeepalive,
    /// No connection is accepted; they wait in the kernel.
    StopAcceptingConnections,
    /// Connections are accepted and closed.
    RejectIncomingConnections,
    /// Free memory is given back to the system.
    ShrinkHeap,
}

/// When an action is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trigger {
    /// Index of the monitor.
    pub monitor: usize,
    /// From this pressure on the action is taken in part; equal to `saturation` where it is taken as a
    /// whole or not at all.
    pub scaling: f64,
    /// From this pressure on it is taken always.
    pub saturation: f64,
}

// === impl ResourceMonitor ===

impl ResourceMonitor {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FixedHeap(_) => "envoy.resource_monitors.fixed_heap",
            Self::CgroupMemory(_) => "envoy.resource_monitors.cgroup_memory",
        }
    }
}

// === impl ActionKind ===

impl ActionKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::StopAcceptingRequests,
        Self::DisableHttpKeepalive,
        Self::StopAcceptingConnections,
        Self::RejectIncomingConnections,
        Self::ShrinkHeap,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StopAcceptingRequests => "envoy.overload_actions.stop_accepting_requests",
            Self::DisableHttpKeepalive => "envoy.overload_actions.disable_http_keepalive",
            Self::StopAcceptingConnections => "envoy.overload_actions.stop_accepting_connections",
            Self::RejectIncomingConnections => "envoy.overload_actions.reject_incoming_connections",
            Self::ShrinkHeap => "envoy.overload_actions.shrink_heap",
        }
    }
}

// === impl Trigger ===

impl Trigger {
    /// How far an action is taken at this pressure: from 0, not at all, to 1, always.
    #[must_use]
    pub fn extent(&self, pressure: f64) -> f64 {
        if pressure >= self.saturation {
            1.0
        } else if pressure <= self.scaling {
            0.0
        } else {
            (pressure - self.scaling) / (self.saturation - self.scaling)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_taken_by_degrees_or_at_once() {
        let trigger = |scaling, saturation| Trigger {
            monitor: 0,
            scaling,
            saturation,
        };
        let scaled = trigger(0.5, 1.0);
        let extents = [0.2, 0.5, 0.75, 1.0, 3.0].map(|pressure| scaled.extent(pressure));
        assert_eq!(extents, [0.0, 0.0, 0.5, 1.0, 1.0]);
        let threshold = trigger(0.9, 0.9);
        assert_eq!(
            [0.89, 0.9].map(|pressure| threshold.extent(pressure)),
            [0.0, 1.0]
        );
    }
}
