//! Who the hosts of a cluster are, as its gauges show it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use super::{
    super::{health_check::HealthCheckStats, outlier::OutlierStats},
    Health, HealthFlags,
};
use crate::{
    config::{self, LoadAssignment},
    stat_set,
    stats::{Registry, Scope, Within},
};

stat_set! {
    /// `cluster.<name>.membership_*`, with Envoy's names. One set a cluster and process.
    pub(crate) struct MembershipStats {
        /// Endpoints.
        membership_total: Gauge,
        /// Endpoints that are healthy. While it is below `membership_total`, fewer serve; see `/clusters` for which do not, and why.
        membership_healthy: Gauge,
        /// Endpoints that get only what healthy ones leave.
        membership_degraded: Gauge,
        /// Endpoints whose health counts neither way, such as those that drain.
        membership_excluded: Gauge,
        /// Changes of the set of endpoints, counted for each priority.
        membership_change: Counter,
    }
}

/// Survives a change of the cluster's configuration.
#[derive(Debug, Clone)]
pub(super) struct Stats {
    pub(super) membership: Arc<MembershipStats>,
    pub(super) outlier: Option<Arc<Within<OutlierStats>>>,
    pub(super) checks: Option<Arc<Within<HealthCheckStats>>>,
}

/// In how many priorities endpoints have come or gone.
pub(super) fn changed_priorities(before: Option<&LoadAssignment>, now: &LoadAssignment) -> u64 {
    let addresses = |all: &LoadAssignment| {
        let mut addresses = BTreeMap::<u32, BTreeSet<SocketAddr>>::new();
        for locality in &all.localities {
            let endpoints = locality.endpoints.iter().map(|endpoint| endpoint.address);
            addresses
                .entry(locality.priority)
                .or_default()
                .extend(endpoints);
        }
        addresses
    };
    let (before, now) = (before.map(addresses).unwrap_or_default(), addresses(now));
    let priorities: BTreeSet<&u32> = before.keys().chain(now.keys()).collect();
    let none = BTreeSet::new();
    let changed = priorities.into_iter().filter(|priority| {
        before.get(*priority).unwrap_or(&none) != now.get(*priority).unwrap_or(&none)
    });
    changed.count() as u64
}

/// Whether endpoints that go by their names, of which several may have one address, have come or gone.
pub(super) fn has_other_names(before: Option<&LoadAssignment>, now: &LoadAssignment) -> bool {
    let names = |all: &LoadAssignment| -> BTreeSet<String> {
        all.endpoints().map(|one| one.hostname.clone()).collect()
    };
    before.map(names).unwrap_or_default() != names(now)
}

// === impl MembershipStats ===

impl MembershipStats {
    /// Shows hosts with these flags.
    pub(super) fn count(&self, hosts: impl Iterator<Item = HealthFlags>) {
        let (mut total, mut healthy, mut degraded, mut excluded) = (0, 0, 0, 0);
        for flags in hosts {
            total += 1;
            healthy += i64::from(flags.health() == Health::Healthy);
            degraded += i64::from(flags.health() == Health::Degraded);
            excluded += i64::from(flags.is_excluded());
        }
        self.membership_total.set(total);
        self.membership_healthy.set(healthy);
        self.membership_degraded.set(degraded);
        self.membership_excluded.set(excluded);
    }
}

// === impl Stats ===

impl Stats {
    pub(super) fn register(config: &config::Cluster, registry: &Registry) -> Self {
        Self {
            membership: registry.register(Scope::cluster(&config.stat_name)),
            outlier: None,
            checks: None,
        }
    }

    /// Those that the configuration needs.
    pub(super) fn completed(mut self, config: &config::Cluster, registry: &Registry) -> Self {
        self.outlier = config.outlier_detection.as_ref().map(|_| {
            let known = self.outlier.take();
            known.unwrap_or_else(|| {
                let scope = Scope::cluster(&config.stat_name);
                registry.register_within(scope, "outlier_detection.", OutlierStats::default())
            })
        });
        self.checks = config.health_check.as_ref().map(|_| {
            let known = self.checks.take();
            known.unwrap_or_else(|| {
                let scope = Scope::cluster(&config.stat_name);
                registry.register_within(scope, "health_check.", HealthCheckStats::default())
            })
        });
        self
    }
}
