//! Load balancing: which host serves next.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use super::{
    Cluster, ClusterStats, Host, LoadBalancerContext,
    group::{Making, Picking},
    host_set::{Choice, HostSet, Local, SubsetStats, ZoneStats},
    random::Random,
};
use crate::{
    config::{
        self,
        cluster::{ClusterDiscovery, LbPolicy},
        endpoint::Locality,
        retry_host::HostSelection,
    },
    reason::Reason,
    runtime::Runtime,
};

/// What picking needs beside the hosts.
#[derive(Default)]
pub(super) struct Balancer {
    pub(super) random: Random,
    /// Overrides what the configuration says.
    pub(super) runtime: RefCell<Arc<Runtime>>,
    /// The configuration has keys of the runtime.
    pub(super) has_keys: bool,
    /// Of clusters with subsets.
    pub(super) subsets: Option<Arc<SubsetStats>>,
    /// Where the bootstrap names a local cluster, and this is another one.
    pub(super) zones: Option<(Rc<LocalCluster>, Arc<ZoneStats>)>,
}

/// The cluster of the proxies, among which this one is (`cluster_manager.local_cluster_name`).
pub(super) struct LocalCluster {
    /// Where the proxy is (`node.locality`).
    pub(super) own: Locality,
    pub(super) cluster: RefCell<Option<Rc<Cluster>>>,
}

/// A host, and its priority.
pub(super) type Picked = (Rc<Host>, u32);

/// One pick.
pub(super) struct Pick<'p> {
    pub(super) context: &'p LoadBalancerContext<'p>,
    pub(super) picking: Picking<'p>,
    pub(super) stats: &'p ClusterStats,
    pub(super) subsets: Option<&'p SubsetStats>,
    pub(super) zones: Option<&'p ZoneStats>,
    /// Priorities may be in panic.
    panics: bool,
}

// === impl Cluster ===

impl Cluster {
    /// The host for a connection or a request.
    pub fn pick(&self, context: &LoadBalancerContext<'_>) -> Option<Rc<Host>> {
        if let ClusterDiscovery::OriginalDst = self.config.discovery {
            let host = context.destination.map(|to| self.original_dst.host(to));
            if host.is_none() {
                self.stats.upstream_cx_none_healthy.inc();
            }
            return host;
        }
        let hosts = self.current();
        let balancer = &self.balancer;
        let pick = Pick {
            context,
            picking: Picking {
                random: &balancer.random,
                hash: self.hash(context),
                attempt: 0,
                in_flight: self.limits.requests(),
            },
            stats: &self.stats,
            subsets: balancer.subsets.as_deref(),
            zones: balancer.zones.as_ref().map(|(_, stats)| &**stats),
            panics: self.config.panic.threshold > 0,
        };
        let Some((host, priority)) = hosts.pick(&pick, (&self.config, balancer)) else {
            self.stats.upstream_cx_none_healthy.inc();
            return None;
        };
        if priority > 0 {
            self.stats.lb_lower_priority.inc();
        }
        Some(host)
    }

    /// Whether a request is refused since the endpoints are said to have too much to do.
    ///
    /// <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/endpoint/v3/endpoint.proto>
    pub(crate) fn drops_overload(&self) -> Option<Reason> {
        let share = self.hosts.borrow().drop_overload()?;
        let refuses_all = share.numerator >= share.denominator;
        if refuses_all {
            return Some(Reason::UnconditionalDropOverload);
        }
        let is_refused = share.includes(self.balancer.random.draw());
        is_refused.then_some(Reason::DropOverload)
    }

    /// What the pick goes by: a hash of the client, or any number.
    fn hash(&self, context: &LoadBalancerContext<'_>) -> u64 {
        let of_client = context
            .hash
            .filter(|_| self.config.lb_policy.goes_by_hash());
        of_client.unwrap_or_else(|| self.balancer.random.draw())
    }
}

// === impl Balancer ===

impl Balancer {
    /// What makes groups of hosts.
    pub(super) fn making<'m>(
        &'m self,
        config: &'m config::Cluster,
        since: &'m dyn Fn(&Host) -> Option<Instant>,
    ) -> Making<'m> {
        let runtime = self.runtime.borrow();
        let settings = &config.load_balancing;
        let bias = match config.lb_policy {
            LbPolicy::LeastRequest(policy) => policy.active_request_bias,
            _ => 0.0,
        };
        let slow_start = settings.slow_start.map(|mut slow_start| {
            let said = runtime.double(&settings.aggression_key, slow_start.aggression);
            // As Envoy, which does not heed what makes no sense.
            slow_start.aggression = if said > 0.0 { said } else { 1.0 };
            slow_start
        });
        Making {
            config,
            random: &self.random,
            bias: runtime
                .double(&settings.active_request_bias_key, bias)
                .max(0.0),
            slow_start,
            since,
        }
    }

    /// Takes over another runtime. Whether that may change weights.
    pub(super) fn follow(&self, runtime: &Arc<Runtime>) -> bool {
        self.runtime.replace(Arc::clone(runtime));
        self.has_keys
    }

    /// The hosts of the local cluster now, where zones count.
    pub(super) fn local_hosts(&self) -> Option<Rc<HostSet>> {
        let (local, _) = self.zones.as_ref()?;
        let cluster = local.cluster.borrow();
        cluster.as_ref().map(|cluster| cluster.current())
    }

    /// Whether the hosts of the local cluster are others than these.
    pub(super) fn has_other_local(&self, known: Option<&Rc<HostSet>>) -> bool {
        if self.zones.is_none() {
            return false;
        }
        let now = self.local_hosts();
        now.as_ref().map(Rc::as_ptr) != known.map(Rc::as_ptr)
    }

    /// Where the proxy is among the hosts of the local cluster.
    pub(super) fn local<'l>(&'l self, hosts: Option<&'l HostSet>) -> Option<Local<'l>> {
        let (local, stats) = self.zones.as_ref()?;
        let own = &local.own;
        Some(Local {
            own: (&own.region, &own.zone, &own.sub_zone),
            hosts: hosts?,
            stats,
        })
    }
}

// === impl Pick ===

impl Pick<'_> {
    /// Picks among these, as often as the retry says until a host is good. `spare` is the choice of
    /// priorities that were not tried.
    pub(super) fn among(
        &self,
        choices: &[Choice],
        spare: impl Fn(u32) -> Option<Rc<Choice>>,
    ) -> Option<Picked> {
        let retry = self.context.retry;
        let frequency = retry.and_then(|retry| retry.previous_priorities);
        let spare = frequency.and_then(spare);
        let attempts = retry.map_or(0, |retry| retry.max_attempts);
        let mut picked = None;
        for attempt in 0..=attempts {
            let choice = match &spare {
                Some(spare) => Some(&**spare),
                None => self.choose(choices),
            };
            let (host, priority) = self.once(choice?, attempt)?;
            let is_good = !self.context.rejects(&host);
            picked = Some((host, priority));
            if is_good {
                break;
            }
        }
        picked
    }

    fn choose<'c>(&self, choices: &'c [Choice]) -> Option<&'c Choice> {
        if let [only] = choices {
            return Some(only);
        }
        let Some(last) = choices.last() else {
            // As in Envoy, where no hosts are too few.
            if self.panics {
                self.stats.lb_healthy_panic.inc();
            }
            return None;
        };
        let point = self.picking.hash % 100;
        Some(
            choices
                .iter()
                .find(|one| point < one.below())
                .unwrap_or(last),
        )
    }

    fn once(&self, choice: &Choice, attempt: u32) -> Option<Picked> {
        if choice.in_panic {
            self.stats.lb_healthy_panic.inc();
        }
        let pick = Pick {
            picking: Picking {
                attempt,
                ..self.picking
            },
            ..*self
        };
        let (group, host) = choice.pick(&pick)?;
        let tried = self.context.tried;
        // A retry that says what it wants is served as it wants.
        let has_wish = self.context.retry.is_some_and(HostSelection::has_predicate);
        let other = match tried.has(host) && !has_wish {
            true => group.other(pick.picking, |host| !tried.has(host)),
            false => None,
        };
        Some((Rc::clone(other.unwrap_or(host)), choice.priority))
    }
}

#[cfg(test)]
mod tests;
