//! The endpoints of a cluster in one worker, grouped by who may be picked.

use std::{collections::HashMap, net::SocketAddr, rc::Rc};

use super::{
    Host,
    health::{ClusterHealth, Health, HealthFlags},
    priority_load::{Level, Load, Tally, Thresholds, loads},
    ring_hash::Ring,
    schedule::schedule,
};
use crate::config::{
    self, LoadAssignment,
    cluster::{LbPolicy, Panic, RingHash},
    endpoint::Policy,
};

/// The endpoints of a cluster, grouped for picking.
#[derive(Default)]
pub(crate) struct HostSet {
    all: Vec<Rc<Host>>,
    choices: Vec<Choice>,
    policy: Policy,
    /// Of the health that these go by; none where only discovery says something of it.
    version: Option<u64>,
}

/// Hosts among which one is picked, and how often it is among these.
pub(super) struct Choice {
    /// Of a hundred picks those below this number, less those of choices before it.
    below: u64,
    /// 0 is the highest.
    pub(super) priority: u32,
    /// Health does not count.
    pub(super) in_panic: bool,
    /// Each host, repeated by its share of the weight. Empty: nobody is picked.
    pub(super) schedule: Vec<Rc<Host>>,
    /// The same on a ring, if the cluster goes by a hash.
    pub(super) ring: Option<Ring>,
}

/// What of a cluster decides who may be picked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Grouping {
    ring: Option<RingHash>,
    panic: Panic,
}

/// Which hosts of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Healthy,
    Degraded,
}

// === impl HostSet ===

impl HostSet {
    /// The set after an update. Hosts whose address stays, and what chooses their transport socket,
    /// keep their connections and counts.
    pub(super) fn update(
        &self,
        endpoints: &LoadAssignment,
        grouping: Grouping,
        health: &ClusterHealth,
    ) -> Self {
        let known: HashMap<SocketAddr, &Rc<Host>> =
            self.all.iter().map(|host| (host.address, host)).collect();
        let localities = endpoints.localities.iter();
        let each = localities.flat_map(|locality| {
            let endpoints = locality.endpoints.iter();
            endpoints.map(|endpoint| Host::new(endpoint, locality.priority))
        });
        let all: Vec<Rc<Host>> = each
            .map(|mut host| {
                // What was connected by another transport socket is of no use to it.
                let same = |known: &&&Rc<Host>| {
                    known.transport_socket_match == host.transport_socket_match
                };
                if let Some(known) = known.get(&host.address).filter(same) {
                    host.continue_as(known);
                }
                host.learn(health.host(host.address));
                Rc::new(host)
            })
            .collect();
        let stays = |host: &&Rc<Host>| all.iter().any(|new| new.continues(host));
        let gone = self.all.iter().filter(|host| !stays(host));
        gone.for_each(|host| host.retire());
        Self::grouped(all, endpoints.policy, (grouping, health))
    }

    /// The same hosts, grouped anew after the health of some has changed.
    pub(super) fn regroup(&self, grouping: Grouping, health: &ClusterHealth) -> Self {
        Self::grouped(self.all.clone(), self.policy, (grouping, health))
    }

    fn grouped(
        all: Vec<Rc<Host>>,
        policy: Policy,
        (grouping, health): (Grouping, &ClusterHealth),
    ) -> Self {
        // Read first: what changes meanwhile is seen then or comes as another version.
        let version = health.is_learnt().then(|| health.version());
        Self {
            choices: choices(&all, policy, grouping),
            all,
            policy,
            version,
        }
    }

    /// Whether the health of hosts has changed since they were grouped.
    pub(super) fn is_behind(&self, health: &ClusterHealth) -> bool {
        self.version
            .is_some_and(|version| version != health.version())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Rc<Host>> {
        self.all.iter()
    }

    /// The hosts that `draw` leads to, any number; the same for all where there is one choice.
    pub(super) fn choose(&self, draw: impl FnOnce() -> u64) -> Option<&Choice> {
        if let [only] = self.choices.as_slice() {
            return Some(only);
        }
        let last = self.choices.last()?;
        let point = draw() % 100;
        let mut choices = self.choices.iter();
        Some(choices.find(|one| point < one.below).unwrap_or(last))
    }
}

/// Healthy hosts of all priorities come first, then degraded ones.
fn choices(all: &[Rc<Host>], policy: Policy, grouping: Grouping) -> Vec<Choice> {
    let mut levels: Vec<Vec<&Rc<Host>>> = Vec::new();
    for host in all {
        let priority = host.priority as usize;
        if levels.len() <= priority {
            levels.resize_with(priority + 1, Vec::new);
        }
        levels[priority].push(host);
    }
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
    pub(super) fn of(config: &config::Cluster) -> Self {
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

#[cfg(test)]
mod tests;
