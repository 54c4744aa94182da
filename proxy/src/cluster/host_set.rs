//! The endpoints of a cluster in one worker, grouped by who may be picked.

mod choice;
mod locality;
mod subsets;
mod zones;

use std::{
    cell::{OnceCell, RefCell},
    collections::{HashMap, HashSet},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use self::{
    choice::levels,
    locality::{Localities, Name},
    subsets::SubsetTree,
};
use super::{
    Host,
    balancer::{Balancer, Pick, Picked},
    health::{ClusterHealth, Health, HostHealth},
    priority_load::{Level, without},
};
use crate::{
    config::{self, LoadAssignment},
    runtime::FractionalPercent,
};

pub(super) use choice::{Choice, Grouping};
pub(super) use locality::Scaled;
pub(super) use subsets::SubsetStats;
pub(super) use zones::{Local, ZoneStats};

/// The endpoints of a cluster, grouped for picking.
#[derive(Default)]
pub(crate) struct HostSet {
    all: Vec<Rc<Host>>,
    choices: Vec<Choice>,
    subsets: Option<Box<SubsetTree>>,
    endpoints: Arc<LoadAssignment>,
    /// Of the health that these go by; none where only discovery says something of it.
    version: Option<u64>,
    /// The local cluster that these go by, where zones count.
    local: Option<Rc<HostSet>>,
    /// Since when hosts are there, where that matters.
    since: HashMap<SocketAddr, Start>,
    /// Choices of priorities that get nothing until a retry asks for them.
    spare: RefCell<Vec<Rc<Choice>>>,
    /// Where each is in `all`, once one was asked for by its address.
    by_address: OnceCell<HashMap<SocketAddr, usize>>,
}

/// When a host began to be healthy.
#[derive(Clone, Copy)]
struct Start {
    at: Instant,
    /// How often its checks had begun to succeed again by then.
    recoveries: u32,
}

// === impl HostSet ===

impl HostSet {
    /// The set after an update. Hosts whose address stays, and what chooses their transport socket,
    /// keep their connections and counts.
    pub(super) fn update(
        &self,
        endpoints: &Arc<LoadAssignment>,
        cluster: (&config::Cluster, &Balancer),
        health: &ClusterHealth,
    ) -> Self {
        let starts_anew = health.config().host_changes.close_on_set_change
            && !self.all.is_empty()
            && !self.has_all_of(endpoints);
        let mut before = Before::new(&self.all);
        let mut all = Vec::with_capacity(self.all.len());
        for (index, locality) in (0..).zip(&endpoints.localities) {
            for endpoint in &locality.endpoints {
                let place = (locality.priority, index);
                let known = match starts_anew {
                    true => None,
                    false => before.take(endpoint.address),
                };
                let learnt = health.host(endpoint.address);
                if let Some(same) = known.filter(|known| known.is(endpoint, place, &learnt)) {
                    all.push(Rc::clone(same));
                    continue;
                }
                let mut host = Host::new(endpoint, place);
                // What was connected by another transport socket is of no use to it.
                match known {
                    Some(known) if known.transport_socket_match == host.transport_socket_match => {
                        host.continue_as(known);
                    }
                    Some(known) => known.retire(),
                    None => {}
                }
                host.learn(learnt);
                all.push(Rc::new(host));
            }
        }
        before.left().for_each(|host| host.retire());
        self.grouped((all, endpoints), cluster, health)
    }

    /// The same hosts, grouped anew after the health of some has changed.
    pub(super) fn regroup(
        &self,
        cluster: (&config::Cluster, &Balancer),
        health: &ClusterHealth,
    ) -> Self {
        self.grouped((self.all.clone(), &self.endpoints), cluster, health)
    }

    /// Whether hosts neither come nor go with `endpoints`.
    fn has_all_of(&self, endpoints: &LoadAssignment) -> bool {
        let known: HashSet<_> = self.all.iter().map(|host| host.address).collect();
        let now: HashSet<_> = endpoints.endpoints().map(|one| one.address).collect();
        known == now
    }

    /// Whether they were made of this.
    pub(super) fn is_of(&self, endpoints: &Arc<LoadAssignment>) -> bool {
        Arc::ptr_eq(&self.endpoints, endpoints)
    }

    fn grouped(
        &self,
        (all, endpoints): (Vec<Rc<Host>>, &Arc<LoadAssignment>),
        (config, balancer): (&config::Cluster, &Balancer),
        health: &ClusterHealth,
    ) -> Self {
        // Read first: what changes meanwhile is seen then or comes as another version.
        let version = health.is_learnt().then(|| health.version());
        let mut set = Self {
            endpoints: Arc::clone(endpoints),
            version,
            local: balancer.local_hosts(),
            since: self.since_of(&all, config),
            all,
            ..Self::default()
        };
        let subsets = config.load_balancing.subsets.as_deref();
        let (choices, subsets) = set.with_grouping((config, balancer), |grouping| match subsets {
            None => (grouping.choices(&set.all), None),
            Some(subsets) => {
                let tree = SubsetTree::new(subsets, &set.all, grouping);
                (Vec::new(), Some(Box::new(tree)))
            }
        });
        if let (Some(now), Some(stats)) = (&subsets, &balancer.subsets) {
            now.count(self.subsets.as_deref(), stats);
        }
        (set.choices, set.subsets) = (choices, subsets);
        set
    }

    /// What decides who of these may be picked.
    fn with_grouping<T>(
        &self,
        (config, balancer): (&config::Cluster, &Balancer),
        group: impl FnOnce(Grouping<'_>) -> T,
    ) -> T {
        let since = |host: &Host| self.since.get(&host.address).map(|start| start.at);
        group(Grouping {
            making: balancer.making(config, &since),
            endpoints: &self.endpoints,
            local: balancer.local(self.local.as_deref()),
            scaled: Scaled::No,
        })
    }

    /// Since when hosts are healthy, where new ones start slowly.
    fn since_of(&self, all: &[Rc<Host>], config: &config::Cluster) -> HashMap<SocketAddr, Start> {
        if config.load_balancing.slow_start.is_none() {
            return HashMap::new();
        }
        let now = Instant::now();
        let known = |host: &Rc<Host>| {
            // As Envoy, where a host is new again once its checks succeed again, and one that outlier
            // detection has ejected is not.
            let recoveries = host.learnt().map_or(0, HostHealth::recoveries);
            let known = self.since.get(&host.address).copied();
            let known = known.filter(|start| start.recoveries == recoveries);
            let is_healthy = host.flags().health() == Health::Healthy;
            let new = Start {
                at: now,
                recoveries,
            };
            Some((host.address, known.or(is_healthy.then_some(new))?))
        };
        all.iter().filter_map(known).collect()
    }

    /// Whether the health of hosts, or the local cluster, has changed since they were grouped.
    pub(super) fn is_behind(&self, health: &ClusterHealth, balancer: &Balancer) -> bool {
        let is_older = |version| version != health.version();
        self.version.is_some_and(is_older) || balancer.has_other_local(self.local.as_ref())
    }

    /// What each priority has, from the highest on, as of a cluster with 100 as its overprovisioning
    /// factor.
    pub(super) fn levels(&self) -> Vec<Level> {
        let policy = self.endpoints.policy;
        let factor = u64::from(policy.overprovisioning_factor);
        let mut levels = levels(&self.all, policy);
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

    /// The host at an address; of several, the last one.
    pub(super) fn at(&self, address: SocketAddr) -> Option<Rc<Host>> {
        let by_address = self.by_address.get_or_init(|| {
            let all = self.all.iter().enumerate();
            all.map(|(index, host)| (host.address, index)).collect()
        });
        self.all.get(*by_address.get(&address)?).map(Rc::clone)
    }

    /// Some of the hosts by their localities.
    fn localities<'l>(&'l self, own: Name<'_>, hosts: &[&'l Rc<Host>]) -> Localities<'l> {
        Localities::new(&self.endpoints, Some(own), hosts)
    }

    /// The share of requests that are refused at once.
    pub(super) fn drop_overload(&self) -> Option<FractionalPercent> {
        self.endpoints.policy.drop_overload
    }

    /// Picks a host.
    pub(super) fn pick(
        &self,
        pick: &Pick<'_>,
        cluster: (&config::Cluster, &Balancer),
    ) -> Option<Picked> {
        match &self.subsets {
            None => pick.among(&self.choices, |loads| self.spare(loads, pick, cluster)),
            Some(subsets) => subsets.pick(pick),
        }
    }

    /// The choice of a retry that avoids the priorities of those that were tried.
    fn spare(
        &self,
        frequency: u32,
        pick: &Pick<'_>,
        cluster: (&config::Cluster, &Balancer),
    ) -> Option<Rc<Choice>> {
        self.with_grouping(cluster, |grouping| {
            let available = grouping.availability(&self.all);
            let loads = without(&available, pick.context.tried.priorities(), frequency)?;
            let choice = grouping.choice_by(&self.all, &loads, pick.picking.hash)?;
            let mut spare = self.spare.borrow_mut();
            let is_same = |known: &&Rc<Choice>| {
                (known.priority, known.source) == (choice.priority, choice.source)
            };
            // The one that was made first has its turns.
            if let Some(known) = spare.iter().find(is_same) {
                return Some(Rc::clone(known));
            }
            let choice = Rc::new(choice);
            spare.push(Rc::clone(&choice));
            Some(choice)
        })
    }
}

/// The hosts before an update. Most updates change few of them, so they are looked for where they were.
struct Before<'b> {
    all: &'b [Rc<Host>],
    /// Where the next one should be.
    next: usize,
    by_address: Option<HashMap<SocketAddr, usize>>,
    taken: Vec<bool>,
}

// === impl Before ===

impl<'b> Before<'b> {
    fn new(all: &'b [Rc<Host>]) -> Self {
        Self {
            all,
            next: 0,
            by_address: None,
            taken: vec![false; all.len()],
        }
    }

    /// The host that was at `address`.
    fn take(&mut self, address: SocketAddr) -> Option<&'b Rc<Host>> {
        let is_there = |index: &usize| {
            let host = self.all.get(*index);
            host.is_some_and(|host| host.address == address) && !self.taken[*index]
        };
        let near = [self.next, self.next + 1].into_iter().find(is_there);
        let index = match near {
            Some(index) => index,
            None => self.look_up(address)?,
        };
        self.next = index + 1;
        *self.taken.get_mut(index)? = true;
        self.all.get(index)
    }

    fn look_up(&mut self, address: SocketAddr) -> Option<usize> {
        let all = self.all;
        let by_address = self.by_address.get_or_insert_with(|| {
            let all = all.iter().enumerate();
            all.map(|(index, host)| (host.address, index)).collect()
        });
        let index = *by_address.get(&address)?;
        (!self.taken[index]).then_some(index)
    }

    /// Those that are gone.
    fn left(&self) -> impl Iterator<Item = &'b Rc<Host>> {
        let all = self.all.iter().zip(&self.taken);
        all.filter_map(|(host, taken)| (!taken).then_some(host))
    }
}

#[cfg(test)]
mod tests;
