//! Bounds of what a cluster may have in flight.

use std::time::Duration;

/// Which bounds a request falls under (`envoy.config.core.v3.RoutingPriority`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoutingPriority {
    /// `DEFAULT`
    #[default]
    Default,
    /// `HIGH`
    High,
}

/// `envoy.config.cluster.v3.CircuitBreakers`
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CircuitBreakers {
    /// Of requests of priority `DEFAULT`, and of connections that carry no requests.
    pub default: Thresholds,
    /// Of requests of priority `HIGH`.
    pub high: Thresholds,
}

/// `CircuitBreakers.Thresholds` of one priority. They hold for all workers together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Connections.
    pub max_connections: u32,
    /// Requests waiting for a connection.
    pub max_pending_requests: u32,
    /// Requests in flight.
    pub max_requests: u32,
    /// Retries in flight, where there is no budget.
    pub max_retries: u32,
    /// Bounds retries by the requests that there are.
    pub retry_budget: Option<RetryBudget>,
    /// Gauges show how much is left.
    pub track_remaining: bool,
    /// Connections to one host; none: any number (`per_host_thresholds`).
    pub max_connections_per_host: Option<u32>,
}

/// `CircuitBreakers.Thresholds.RetryBudget`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// Retries in flight, percent of the requests in flight and waiting.
    pub budget_percent: f64,
    /// Retries that are allowed in any case.
    pub min_retry_concurrency: u32,
    /// Percent of the requests that began within this, instead (`budget_interval`).
    pub interval: Option<Duration>,
}

// === impl CircuitBreakers ===

impl CircuitBreakers {
    /// The bounds of one priority.
    #[must_use]
    pub fn of(&self, priority: RoutingPriority) -> &Thresholds {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => &self.high,
        }
    }

    /// Whether nothing but retries is bounded otherwise than by default.
    #[must_use]
    pub fn bounds_retries_alone(&self) -> bool {
        [self.default, self.high].iter().all(|thresholds| {
            let usual = Thresholds {
                max_retries: thresholds.max_retries,
                retry_budget: thresholds.retry_budget,
                ..Thresholds::default()
            };
            *thresholds == usual
        })
    }
}

// === impl Thresholds ===

impl Default for Thresholds {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            track_remaining: false,
            max_connections_per_host: None,
        }
    }
}

// === impl RetryBudget ===

impl Default for RetryBudget {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            budget_percent: 20.0,
            min_retry_concurrency: 3,
            interval: None,
        }
    }
}
