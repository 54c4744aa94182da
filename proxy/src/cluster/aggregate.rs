//! Aggregate clusters: the priorities of several clusters, one after the other, share the traffic as
//! those of one cluster do.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/aggregate_cluster>

use std::{cell::RefCell, rc::Rc};

use super::{
    Cluster, Clusters, HostSet,
    priority_load::{Level, Thresholds, loads},
};
use crate::config::cluster::ClusterDiscovery;

/// What an aggregate cluster remembers of its clusters.
#[derive(Default)]
pub(super) struct Shares(RefCell<Known>);

/// Shares, for as long as the hosts are these.
#[derive(Default)]
struct Known {
    hosts: Vec<Rc<HostSet>>,
    /// Of a hundred picks those below this number, less those before it, go to the cluster of the same
    /// place.
    below: Vec<u64>,
}

// === impl Clusters ===

impl Clusters {
    /// The cluster for a request or a connection to the one named `name`: one of its clusters, where it
    /// is an aggregate, and itself where none of those has a host that may be picked.
    pub(crate) fn choose(&self, name: &str) -> Option<Rc<Cluster>> {
        self.get(name).map(|cluster| self.chosen(&cluster))
    }

    /// As [`Self::choose`], for one that is known.
    pub(crate) fn chosen(&self, cluster: &Rc<Cluster>) -> Rc<Cluster> {
        match &cluster.config.discovery {
            ClusterDiscovery::Aggregate(_) => {
                let chosen = self.choose_of(cluster);
                chosen.unwrap_or_else(|| Rc::clone(cluster))
            }
            _ => Rc::clone(cluster),
        }
    }

    fn choose_of(&self, aggregate: &Rc<Cluster>) -> Option<Rc<Cluster>> {
        let ClusterDiscovery::Aggregate(names) = &aggregate.config.discovery else {
            return None;
        };
        // As Envoy, for which another aggregate has no hosts of its own: so none lies in itself.
        let is_plain =
            |it: &Rc<Cluster>| !matches!(it.config.discovery, ClusterDiscovery::Aggregate(_));
        let members = names.iter().filter_map(|name| self.get(name));
        let members: Vec<_> = members.filter(is_plain).collect();
        let mut known = aggregate.shares.0.borrow_mut();
        let hosts: Vec<_> = members.iter().map(|member| member.current()).collect();
        let is_same = known.hosts.len() == hosts.len()
            && known
                .hosts
                .iter()
                .zip(&hosts)
                .all(|(one, other)| Rc::ptr_eq(one, other));
        if !is_same {
            let below = below(&hosts, aggregate.config.panic.threshold);
            *known = Known { hosts, below };
        }
        let point = aggregate.balancer.random.draw() % 100;
        let index = known.below.iter().position(|below| point < *below)?;
        members.get(index).map(Rc::clone)
    }
}

/// Up to which number of a hundred each of the host sets is picked. Nobody is where nobody has hosts.
fn below(hosts: &[Rc<HostSet>], panic_threshold: u32) -> Vec<u64> {
    let levels: Vec<(usize, Level)> = hosts
        .iter()
        .enumerate()
        .flat_map(|(index, hosts)| hosts.levels().into_iter().map(move |level| (index, level)))
        // One without hosts is no priority of its own.
        .filter(|(_, level)| level.hosts > 0)
        .collect();
    let all: Vec<Level> = levels.iter().map(|(_, level)| *level).collect();
    let thresholds = Thresholds {
        // Each cluster's own is in what is weighed.
        overprovisioning_factor: 100,
        healthy_panic: panic_threshold,
    };
    let mut shares = vec![0; hosts.len()];
    for ((index, _), load) in levels.iter().zip(loads(&all, thresholds)) {
        if let Some(share) = shares.get_mut(*index) {
            *share += load.healthy + load.degraded;
        }
    }
    let mut sum = 0;
    let sums = shares.into_iter().map(|share| {
        sum += share;
        sum
    });
    sums.collect()
}
