//! The endpoints of a cluster in one worker, grouped by who may be picked.

mod choice;

use std::{collections::HashMap, net::SocketAddr, rc::Rc};

use self::choice::{choices, levels};
use super::{Host, health::ClusterHealth, priority_load::Level};
use crate::config::{LoadAssignment, endpoint::Policy};

pub(super) use choice::{Choice, Grouping};

/// The endpoints of a cluster, grouped for picking.
#[derive(Default)]
pub(crate) struct HostSet {
    all: Vec<Rc<Host>>,
    choices: Vec<Choice>,
    policy: Policy,
    /// Of the health that these go by; none where only discovery says something of it.
    version: Option<u64>,
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

    /// What each priority has, from the highest on, as of a cluster with 100 as its overprovisioning
    /// factor.
    pub(super) fn levels(&self) -> Vec<Level> {
        let factor = u64::from(self.policy.overprovisioning_factor);
        let mut levels = levels(&self.all, self.policy);
        for level in &mut levels {
            level.weighed.total *= 100;
            level.weighed.healthy *= factor;
            level.weighed.degraded *= factor;
        }
        levels
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

#[cfg(test)]
mod tests;
