//! How a cluster picks an endpoint.

use std::time::Duration;

use super::{cluster::RingHash, hash::HashPolicy, subset::Subsets};

/// `Cluster.lb_policy`, or the first known entry of `Cluster.load_balancing_policy`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LbPolicy {
    /// Each in turn, by weight.
    RoundRobin,
    /// One with few requests in flight.
    LeastRequest(LeastRequest),
    /// Any, whatever its weight.
    Random,
    /// The one that a hash of the client leads to, on a ring of all.
    RingHash(RingHash),
    /// The one that a hash of the client leads to, in a table that all share.
    Maglev(Maglev),
    /// The cluster type decides (`ORIGINAL_DST`).
    ClusterProvided,
}

/// `envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeastRequest {
    /// Among so many picked at random; none: among all (`FULL_SCAN`).
    pub choice_count: Option<u32>,
    /// Where weights differ, a host's is divided by its requests in flight and one more, to this power.
    pub active_request_bias: f64,
}

/// `envoy.extensions.load_balancing_policies.maglev.v3.Maglev`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maglev {
    /// Entries of the table, a prime.
    pub table_size: u32,
}

/// What all policies have, or many.
#[derive(Debug, Default)]
pub struct LoadBalancing {
    /// New hosts get their share by and by.
    pub slow_start: Option<SlowStart>,
    /// What the localities of hosts come to.
    pub locality: LocalityLb,
    /// For policies that go by a hash.
    pub consistent_hashing: ConsistentHashing,
    /// Hosts are chosen by their metadata first.
    pub subsets: Option<Box<Subsets>>,
    /// The key of the runtime that overrides `active_request_bias`; may be empty.
    pub active_request_bias_key: Box<str>,
    /// The key of the runtime that overrides `aggression`; may be empty.
    pub aggression_key: Box<str>,
}

/// `envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// How long a host is new.
    pub window: Duration,
    /// The share of the window that has passed, to the power of one divided by this, is the share of its
    /// weight that a host has.
    pub aggression: f64,
    /// The least such share, from 0 to 1.
    pub min_weight: f64,
}

/// `LocalityLbConfig.locality_config_specifier`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalityLb {
    /// `locality_weighted_lb_config`: each locality gets a share by its weight.
    Weighted,
    /// `zone_aware_lb_config`: what the proxy's own zone can take stays there, where the bootstrap names
    /// a local cluster.
    ZoneAware(ZoneAware),
}

/// `LocalityLbConfig.ZoneAwareLbConfig`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneAware {
    /// Percent of picks that heed zones.
    pub routing_enabled: u32,
    /// Zones do not count with fewer healthy hosts.
    pub min_cluster_size: u64,
    /// All picks stay in the own zone if so many healthy hosts are there.
    pub force_local_zone: Option<u32>,
    /// What makes the size of a zone.
    pub basis: LocalityBasis,
}

/// `ZoneAwareLbConfig.LocalityBasis`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalityBasis {
    /// `HEALTHY_HOSTS_NUM`
    Number,
    /// `HEALTHY_HOSTS_WEIGHT`
    Weight,
}

/// `envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig`
#[derive(Debug, Default)]
pub struct ConsistentHashing {
    /// A host's name stands for it rather than its address (`use_hostname_for_hashing`).
    pub by_hostname: bool,
    /// A host gets at most so many percent of its share of the requests in flight; the rest goes elsewhere
    /// (`hash_balance_factor`).
    pub balance_factor: Option<u32>,
    /// In place of those of routes and of `tcp_proxy`.
    pub hash_policy: Vec<HashPolicy>,
}

// === impl LeastRequest ===

impl Default for LeastRequest {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            choice_count: Some(2),
            active_request_bias: 1.0,
        }
    }
}

// === impl Maglev ===

impl Maglev {
    /// Envoy's largest table.
    pub const MAXIMUM: u32 = 5_000_011;
}

impl Default for Maglev {
    /// Envoy's default.
    fn default() -> Self {
        Self { table_size: 65537 }
    }
}

// === impl LbPolicy ===

impl LbPolicy {
    /// Whether the client's hash leads to a host.
    #[must_use]
    pub fn goes_by_hash(self) -> bool {
        matches!(self, Self::RingHash(_) | Self::Maglev(_))
    }
}

// === impl LocalityLb ===

impl Default for LocalityLb {
    fn default() -> Self {
        Self::ZoneAware(ZoneAware::default())
    }
}

// === impl ZoneAware ===

impl Default for ZoneAware {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            routing_enabled: 100,
            min_cluster_size: 6,
            force_local_zone: None,
            basis: LocalityBasis::Number,
        }
    }
}
