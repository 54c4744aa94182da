//! Zone-aware routing: what the proxy's own zone can take stays there. How much that is follows from how the
//! hosts of the local cluster, which are the proxies, and those of the cluster are spread over zones.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/zone_aware>

use std::{collections::HashMap, rc::Rc};

use super::{
    super::{Host, balancer::Pick, group::Group, health::Health, random::Random},
    HostSet,
    locality::{Localities, Locality, Name},
};
use crate::{
    config::{
        cluster::Panic,
        load_balancing::{LocalityBasis, ZoneAware},
    },
    stat_set,
};

stat_set! {
    /// `cluster.<name>.lb_*`, with Envoy's names, where the bootstrap names a local cluster.
    pub(in super::super) struct ZoneStats {
        /// How often it was worked out which zones get what.
        lb_recalculate_zone_structures: Counter,
        /// Times that zones did not count because the local cluster has no host in the own zone, or too few healthy ones.
        lb_local_cluster_not_ok: Counter,
        /// Times that zones did not count because the cluster has too few healthy hosts.
        lb_zone_cluster_too_small: Counter,
        /// Picks of any zone since none has room.
        lb_zone_no_capacity_left: Counter,
        /// Picks in the own zone, which takes all.
        lb_zone_routing_all_directly: Counter,
        /// Picks in the own zone, which takes some.
        lb_zone_routing_sampled: Counter,
        /// Picks in another zone.
        lb_zone_routing_cross_zone: Counter,
    }
}

/// Parts that shares of zones are counted in.
const WHOLE: u64 = 10_000;

/// Where the proxy is, and the others like it.
#[derive(Clone, Copy)]
pub(in super::super) struct Local<'l> {
    pub(in super::super) own: Name<'l>,
    /// The hosts of the local cluster.
    pub(in super::super) hosts: &'l HostSet,
    pub(in super::super) stats: &'l ZoneStats,
}

/// Zones, and which of them gets what.
pub(super) struct Zones {
    routing: Routing,
    /// Percent of picks that heed zones.
    enabled: u32,
    /// Too few of the local cluster are healthy to say anything.
    local_in_panic: bool,
    fails_traffic: bool,
    groups: Box<[Group]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Routing {
    /// All stays in the own zone.
    Direct,
    /// Some does.
    Residual {
        /// Of ten thousand.
        to_own: u64,
        /// What each zone has room for, and those before it.
        room: Box<[u64]>,
    },
}

/// The share of a zone: of the local cluster, and of the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shares {
    local: u64,
    upstream: u64,
}

// === impl Zones ===

impl Zones {
    /// None where zones do not count.
    pub(super) fn new(
        (settings, panic): (ZoneAware, Panic),
        local: Local<'_>,
        upstream: &Localities<'_>,
        groups: impl FnOnce() -> Box<[Group]>,
    ) -> Option<Self> {
        let stats = local.stats;
        stats.lb_recalculate_zone_structures.inc();
        if upstream.all.len() < 2 {
            return None;
        }
        let local_hosts: Vec<&Rc<Host>> = local.hosts.all().filter(|it| it.priority == 0).collect();
        let zones = local.hosts.localities(local.own, &local_hosts);
        if zones.all.len() < 2 && settings.force_local_zone.is_none() {
            return None;
        }
        if !zones.has_own {
            stats.lb_local_cluster_not_ok.inc();
            return None;
        }
        let healthy = upstream.all.iter().map(|zone| healthy(zone).count() as u64);
        if healthy.sum::<u64>() < settings.min_cluster_size {
            stats.lb_zone_cluster_too_small.inc();
            return None;
        }
        let available = local_hosts.iter();
        let available = available
            .filter(|host| host.flags().health() != Health::Unhealthy)
            .count();
        let counted = local_hosts
            .iter()
            .filter(|host| !host.flags().is_excluded())
            .count();
        let percent = (100 * available).checked_div(counted).unwrap_or(0);
        Some(Self {
            routing: routing(settings, &zones, upstream),
            enabled: settings.routing_enabled,
            local_in_panic: percent < panic.threshold as usize,
            fails_traffic: panic.fails_traffic,
            groups: groups(),
        })
    }

    /// The hosts of one zone, or all.
    pub(super) fn group<'g>(&'g self, all: &'g Group, pick: &Pick<'_>) -> Option<&'g Group> {
        let (random, Some(stats)) = (pick.picking.random, pick.zones) else {
            return Some(all);
        };
        if random.below(100) >= self.enabled as usize {
            return Some(all);
        }
        if self.local_in_panic {
            stats.lb_local_cluster_not_ok.inc();
            return (!self.fails_traffic).then_some(all);
        }
        self.groups.get(self.zone(random, stats))
    }

    fn zone(&self, random: &Random, stats: &ZoneStats) -> usize {
        let (to_own, room) = match &self.routing {
            Routing::Direct => {
                stats.lb_zone_routing_all_directly.inc();
                return 0;
            }
            Routing::Residual { to_own, room } => (*to_own, room),
        };
        if (random.below(WHOLE as usize) as u64) < to_own {
            stats.lb_zone_routing_sampled.inc();
            return 0;
        }
        stats.lb_zone_routing_cross_zone.inc();
        let all = room.last().copied().unwrap_or_default();
        if all == 0 {
            stats.lb_zone_no_capacity_left.inc();
            return random.below(room.len());
        }
        let drawn = random.below(all as usize) as u64;
        room.iter().position(|room| drawn < *room).unwrap_or(0)
    }
}

fn healthy<'z>(zone: &'z Locality<'_>) -> impl Iterator<Item = &'z Rc<Host>> {
    let hosts = zone.hosts.iter().copied();
    hosts.filter(|host| host.flags().health() == Health::Healthy)
}

/// What healthy hosts of a zone come to.
fn size(zone: &Locality<'_>, basis: LocalityBasis) -> u64 {
    match basis {
        LocalityBasis::Number => healthy(zone).count() as u64,
        LocalityBasis::Weight => healthy(zone).map(|host| u64::from(host.weight)).sum(),
    }
}

fn shares(basis: LocalityBasis, local: &Localities<'_>, upstream: &Localities<'_>) -> Vec<Shares> {
    let sizes: HashMap<Name<'_>, u64> = local
        .all
        .iter()
        .map(|zone| (zone.name, size(zone, basis)))
        .collect();
    let all_local: u64 = sizes.values().sum();
    let all_upstream: u64 = upstream.all.iter().map(|zone| size(zone, basis)).sum();
    let share = |zone: &Locality<'_>| {
        let upstream = size(zone, basis);
        if upstream == 0 {
            return Shares::default();
        }
        let local = sizes.get(&zone.name).copied().unwrap_or(0);
        Shares {
            local: (WHOLE * local).checked_div(all_local).unwrap_or(0),
            upstream: (WHOLE * upstream).checked_div(all_upstream).unwrap_or(0),
        }
    };
    upstream.all.iter().map(share).collect()
}

fn routing(settings: ZoneAware, local: &Localities<'_>, upstream: &Localities<'_>) -> Routing {
    let shares = shares(settings.basis, local, upstream);
    let own = shares.first().copied().filter(|_| upstream.has_own);
    let own = own.unwrap_or_default();
    let enough = settings.force_local_zone.is_some_and(|least| {
        let own = upstream.all.first().filter(|_| upstream.has_own);
        own.is_some_and(|own| healthy(own).count() as u64 >= least.into())
    });
    if (own.upstream > 0 && own.upstream >= own.local) || enough {
        return Routing::Direct;
    }
    let mut all = 0;
    let room = shares.iter().enumerate().map(|(index, zone)| {
        // The own zone has got what it can take.
        if index > 0 || !upstream.has_own {
            all += zone.upstream.saturating_sub(zone.local);
        }
        all
    });
    Routing::Residual {
        room: room.collect(),
        to_own: (own.upstream * WHOLE).checked_div(own.local).unwrap_or(0),
    }
}
