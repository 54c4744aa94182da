//! What active health checks have to do with the state of a host.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use serde_json::{Map, Value};

use super::{
    super::{ClusterStats, health_check::HealthCheckStats},
    ClusterHealth, HealthFlags, HostHealth, Hosts,
    staying::is_disabled,
};
use crate::{
    config::{endpoint::Endpoint, health_check::HealthCheck},
    stats::Within,
};

/// A host that is checked.
#[derive(Debug, Clone)]
pub(crate) struct CheckTarget {
    /// The host's own address.
    pub(crate) host: SocketAddr,
    /// Where checks go.
    pub(crate) address: SocketAddr,
    /// The endpoint's name; may be empty.
    pub(crate) hostname: String,
    /// The name that checks ask for; empty: what the check says.
    pub(crate) check_hostname: String,
    /// What chooses among transport sockets.
    pub(crate) transport_socket_match: Option<Arc<Map<String, Value>>>,
    /// Where it is: region, zone and part of a zone.
    pub(crate) locality: [String; 3],
    pub(crate) health: Arc<HostHealth>,
}

// === impl CheckTarget ===

impl CheckTarget {
    /// Whether it is the same host, checked the same.
    pub(in super::super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.health, &other.health)
            && self.address == other.address
            && self.hostname == other.hostname
            && self.check_hostname == other.check_hostname
            && self.transport_socket_match == other.transport_socket_match
    }
}

// === impl ClusterHealth ===

impl ClusterHealth {
    pub(crate) fn config(&self) -> &Arc<crate::config::Cluster> {
        &self.config
    }

    /// What is asked of hosts, and what counts it; none: nothing.
    pub(in super::super) fn check(&self) -> Option<(&HealthCheck, &Within<HealthCheckStats>)> {
        let check = self.config.health_check.as_ref()?;
        Some((check, self.stats.checks.as_deref()?))
    }

    /// What is known of a host of which nothing was learnt.
    pub(super) fn unchecked(&self, endpoint: &Endpoint) -> Arc<HostHealth> {
        let state = HostHealth::default();
        if self.config.health_check.is_some() && !is_disabled(endpoint.health_check.as_deref()) {
            state.set(HealthFlags::FAILED_ACTIVE_HC);
            if self.config.host_changes.ignore_new_until_checked {
                state.set(HealthFlags::PENDING_ACTIVE_HC);
            }
        }
        Arc::new(state)
    }

    /// The hosts that are checked.
    pub(in super::super) fn check_targets(&self) -> Vec<CheckTarget> {
        let hosts = self.lock();
        let localities = hosts.assignment.iter().flat_map(|all| &all.localities);
        let each = localities.flat_map(|locality| {
            let place = [&locality.region, &locality.zone, &locality.sub_zone];
            let checked = locality.endpoints.iter();
            let checked = checked.filter(|one| !is_disabled(one.health_check.as_deref()));
            checked.map(move |endpoint| (endpoint, place))
        });
        let targets = each.filter_map(|(endpoint, place)| {
            let own = endpoint.health_check.as_deref();
            Some(CheckTarget {
                host: endpoint.address,
                address: own.and_then(|own| own.address).unwrap_or(endpoint.address),
                hostname: endpoint.hostname.clone(),
                check_hostname: own.map(|own| own.hostname.clone()).unwrap_or_default(),
                transport_socket_match: endpoint.transport_socket_match.clone(),
                locality: place.map(Clone::clone),
                health: Arc::clone(hosts.states.get(&endpoint.address)?),
            })
        });
        targets.collect()
    }

    /// What a check has changed about a host, whose flags were `before`.
    pub(in super::super) fn checked(
        &self,
        target: &CheckTarget,
        before: HealthFlags,
        now: HealthFlags,
    ) {
        let host = &target.health;
        host.set(now.without(before));
        host.clear(before.without(now));
        let failed = |flags: HealthFlags| flags.has(HealthFlags::FAILED_ACTIVE_HC);
        let is_first = !host.is_checked.swap(true, Ordering::AcqRel);
        if failed(now) && !failed(before) {
            host.fail();
        } else if failed(before) && !failed(now) && !is_first {
            host.recoveries.fetch_add(1, Ordering::AcqRel);
        }
        if before != now || is_first {
            self.changed.notify_one();
        }
    }

    /// A check of a host has succeeded, which ends an ejection where that is configured.
    pub(in super::super) fn uneject(&self, target: &CheckTarget) {
        let settings = self.config.outlier_detection.as_ref();
        let flags = target.health.flags();
        let ends = settings.is_some_and(|settings| settings.uneject_on_health_check)
            && flags.has(HealthFlags::FAILED_OUTLIER_CHECK)
            && !flags.has(HealthFlags::FAILED_ACTIVE_HC);
        if ends {
            self.detect(|detector| detector.uneject(target.host));
        }
    }

    /// Lets everybody know what checks have changed. Hosts that only their health kept go with it.
    pub(in super::super) fn settle_checks(&self) {
        let mut hosts = self.lock();
        let leaves = |state: &Arc<HostHealth>| {
            let flags = state.flags();
            flags.has(HealthFlags::PENDING_DYNAMIC_REMOVAL)
                && flags.has(HealthFlags::FAILED_ACTIVE_HC)
        };
        let leaving = hosts.states.values().any(leaves);
        match (&hosts.assignment, leaving) {
            (Some(all), true) => {
                let mut left = crate::config::LoadAssignment::clone(all);
                for locality in &mut left.localities {
                    locality.endpoints.retain(|endpoint| {
                        !hosts.states.get(&endpoint.address).is_some_and(leaves)
                    });
                }
                left.localities.retain(|one| !one.endpoints.is_empty());
                self.take_over(&mut hosts, &Arc::new(left));
            }
            _ => self.tell(&hosts),
        }
        let is_known = hosts.assignment.is_some();
        if !self.is_warm() && is_known {
            let targets = hosts.assignment.iter().flat_map(|all| all.endpoints());
            let mut targets =
                targets.filter(|endpoint| !is_disabled(endpoint.health_check.as_deref()));
            let is_warm = targets.all(|endpoint| {
                let state = hosts.states.get(&endpoint.address);
                state.is_none_or(|state| state.is_checked.load(Ordering::Acquire))
            });
            self.is_warm.store(is_warm, Ordering::Release);
        }
    }

    /// Whether the first checks of all hosts have ended.
    pub(crate) fn is_warm(&self) -> bool {
        self.is_warm.load(Ordering::Acquire)
    }

    /// A worker uses the cluster, and counts its connections here.
    pub(in super::super) fn note_worker(&self, stats: &Arc<ClusterStats>) {
        if self.config.health_check.is_some() {
            let mut hosts = self.lock();
            hosts.workers.retain(|known| known.strong_count() > 0);
            hosts.workers.push(Arc::downgrade(stats));
        }
    }

    /// Whether a connection was ever made to a host.
    pub(in super::super) fn has_traffic(&self) -> bool {
        let hosts = self.lock();
        let mut workers = hosts.workers.iter().filter_map(std::sync::Weak::upgrade);
        workers.any(|stats| stats.upstream_cx_total.get() > 0)
    }

    pub(super) fn count_checked(&self, hosts: &Hosts) {
        let Some((_, stats)) = self.check() else {
            return;
        };
        let endpoints = hosts.assignment.iter().flat_map(|all| all.endpoints());
        let checked = endpoints.filter(|one| !is_disabled(one.health_check.as_deref()));
        let (mut healthy, mut degraded) = (0, 0);
        for state in checked.filter_map(|one| hosts.states.get(&one.address)) {
            let flags = state.flags();
            healthy += i64::from(!flags.has(HealthFlags::FAILED_ACTIVE_HC));
            degraded += i64::from(flags.has(HealthFlags::DEGRADED_ACTIVE_HC));
        }
        stats.healthy.set(healthy);
        stats.degraded.set(degraded);
    }
}
