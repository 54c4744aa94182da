//! Which hosts get which share of picks.

use std::rc::Rc;

use super::super::{
    Host,
    health::{Health, HealthFlags},
    priority_load::{Level, Load, Tally, Thresholds, loads},
    ring_hash::Ring,
    schedule::schedule,
};
use crate::config::{
    self,
    cluster::{LbPolicy, Panic, RingHash},
    endpoint::Policy,
};

/// Hosts among which one is picked, and how often it is among these.
pub(in super::super) struct Choice {
    /// Of a hundred picks those below this number, less those of choices before it.
    pub(super) below: u64,
    /// 0 is the highest.
    pub(in super::super) priority: u32,
    /// Health does not count.
    pub(in super::super) in_panic: bool,
    /// Each host, repeated by its share of the weight. Empty: nobody is picked.
    pub(in super::super) schedule: Vec<Rc<Host>>,
    /// The same on a ring, if the cluster goes by a hash.
    pub(in super::super) ring: Option<Ring>,
}

/// What of a cluster decides who may be picked.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Grouping {
    pub(super) ring: Option<RingHash>,
    pub(super) panic: Panic,
}

/// Which hosts of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Healthy,
    Degraded,
}

/// Healthy hosts of all priorities come first, then degraded ones.
pub(super) fn choices(all: &[Rc<Host>], policy: Policy, grouping: Grouping) -> Vec<Choice> {
    let levels = by_priority(all);
    let tallies: Vec<Level> = levels.iter().map(|hosts| level(hosts, policy)).collect();
    let thresholds = Thresholds {
        overprovisioning_factor: policy.overprovisioning_factor,
        healthy_panic: grouping.panic.threshold,
    };
    let loads = loads(&tallies, thresholds);
    let (mut choices, mut below) = (Vec::new(), 0);
    for source in [Source::Healthy, Source::Degraded] {
        for ((priority, load), hosts) in (0..).zip(&loads).zip(&levels) {
            let share = match source {
                Source::Healthy => load.healthy,
                Source::Degraded => load.degraded,
            };
            if share > 0 {
                below += share;
                let hosts = grouping.members(hosts, *load, source);
                choices.push(grouping.choice(&hosts, (below, priority, *load)));
            }
        }
    }
    choices
}

/// What each priority has, from the highest on.
pub(super) fn levels(all: &[Rc<Host>], policy: Policy) -> Vec<Level> {
    let levels = by_priority(all);
    levels.iter().map(|hosts| level(hosts, policy)).collect()
}

fn by_priority(all: &[Rc<Host>]) -> Vec<Vec<&Rc<Host>>> {
    let mut levels: Vec<Vec<&Rc<Host>>> = Vec::new();
    for host in all {
        let priority = host.priority as usize;
        if levels.len() <= priority {
            levels.resize_with(priority + 1, Vec::new);
        }
        levels[priority].push(host);
    }
    levels
}

fn level(hosts: &[&Rc<Host>], policy: Policy) -> Level {
    let mut level = Level {
        hosts: hosts.len() as u64,
        ..Level::default()
    };
    for host in hosts {
        let flags = host.flags();
        level.counted.add(flags, 1);
        let weight = if policy.weighted_priority_health {
            host.weight.into()
        } else {
            1
        };
        level.weighed.add(flags, weight);
    }
    level
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, flags: HealthFlags, weight: u64) {
        match flags.health() {
            Health::Healthy => self.healthy += weight,
            Health::Degraded => self.degraded += weight,
            Health::Unhealthy => {}
        }
        if !flags.is_excluded() {
            self.total += weight;
        }
    }
}

// === impl Grouping ===

impl Grouping {
    pub(in super::super) fn of(config: &config::Cluster) -> Self {
        let ring = match config.lb_policy {
            LbPolicy::RingHash(size) => Some(size),
            _ => None,
        };
        let panic = config.panic;
        Self { ring, panic }
    }

    /// Those of a priority that get a share of its load.
    fn members(&self, hosts: &[&Rc<Host>], load: Load, source: Source) -> Vec<Rc<Host>> {
        let fits = |host: &&&Rc<Host>| match (load.in_panic, source) {
            (true, _) => !self.panic.fails_traffic,
            // As Envoy, which puts no degraded host on a ring.
            (false, Source::Degraded) if self.ring.is_some() => false,
            (false, Source::Degraded) => host.flags().health() == Health::Degraded,
            (false, Source::Healthy) => host.flags().health() == Health::Healthy,
        };
        let hosts = hosts.iter().filter(fits);
        hosts.map(|host| Rc::clone(host)).collect()
    }

    fn choice(&self, hosts: &[Rc<Host>], (below, priority, load): (u64, u32, Load)) -> Choice {
        Choice {
            below,
            priority,
            in_panic: load.in_panic,
            schedule: schedule(hosts),
            ring: self.ring.map(|size| Ring::new(hosts, size)),
        }
    }
}
