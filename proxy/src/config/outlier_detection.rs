//! Which hosts a cluster takes for outliers.

use std::time::Duration;

/// `envoy.config.cluster.v3.OutlierDetection`. Of what is a percentage 100 is all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Errors in a row, of any kind, after which a host is one; 0: however many.
    pub consecutive_5xx: Rule,
    /// The same of 502, 503 and 504.
    pub consecutive_gateway_failure: Rule,
    /// The same of failures to reach a host, where these are told apart.
    pub consecutive_local_origin_failure: Rule,
    /// Between sweeps, which eject by rates and bring hosts back.
    pub interval: Duration,
    /// How long a host is ejected for the first time; each further time in a row so much longer.
    pub base_ejection_time: Duration,
    /// At most.
    pub max_ejection_time: Duration,
    /// Up to so much longer, by chance.
    pub max_ejection_time_jitter: Duration,
    /// Percent of hosts that may be ejected.
    pub max_ejection_percent: u32,
    /// One may be, whatever the percentage.
    pub always_eject_one_host: bool,
    /// Whether a failure to reach a host is told apart from its errors.
    pub split_external_local_origin_errors: bool,
    /// A health check that succeeds ends an ejection.
    pub uneject_on_health_check: bool,
    /// Hosts that are worse than the others.
    pub success_rate: SuccessRate,
    /// Hosts that fail too often.
    pub failure_percentage: FailurePercentage,
}

/// So many in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How many.
    pub threshold: u32,
    /// How often a host that has reached it is ejected, percent.
    pub enforcing: u32,
}

/// What of a sweep needs enough traffic to say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Hosts with enough requests, below which nothing is said.
    pub minimum_hosts: u32,
    /// Requests of a host in an interval, below which nothing is said of it.
    pub request_volume: u32,
    /// How often a host that is found is ejected, percent.
    pub enforcing: u32,
    /// The same by failures to reach it, where these are told apart.
    pub enforcing_local_origin: u32,
}

/// Ejection of hosts whose success rate is below that of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessRate {
    /// When it says something.
    pub volume: Volume,
    /// How many thousandths of the standard deviation below the mean.
    pub stdev_factor: u32,
}

/// Ejection of hosts that fail too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailurePercentage {
    /// When it says something.
    pub volume: Volume,
    /// Percent of requests that fail, from which on a host is ejected.
    pub threshold: u32,
}

// === impl OutlierDetection ===

impl Default for OutlierDetection {
    /// Envoy's defaults.
    fn default() -> Self {
        let rule = |enforcing| Rule {
            threshold: 5,
            enforcing,
        };
        let volume = |request_volume, enforcing| Volume {
            minimum_hosts: 5,
            request_volume,
            enforcing,
            enforcing_local_origin: enforcing,
        };
        Self {
            consecutive_5xx: rule(100),
            consecutive_gateway_failure: rule(0),
            consecutive_local_origin_failure: rule(100),
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Self::MAX_EJECTION_TIME,
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one_host: false,
            split_external_local_origin_errors: false,
            uneject_on_health_check: true,
            success_rate: SuccessRate {
                volume: volume(100, 100),
                stdev_factor: 1900,
            },
            failure_percentage: FailurePercentage {
                volume: volume(50, 0),
                threshold: 85,
            },
        }
    }
}

impl OutlierDetection {
    /// Envoy's default of `max_ejection_time`, unless `base_ejection_time` is longer.
    pub const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);
}
