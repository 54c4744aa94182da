//! Hosts of which one is picked by the policy of their cluster.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use super::{
    Host,
    edf::Edf,
    hashing::{Hashed, Keyed},
    random::Random,
};
use crate::config::{
    self,
    cluster::LbPolicy,
    load_balancing::{LeastRequest, SlowStart},
};

/// Hosts of which one is picked.
pub(super) struct Group {
    hosts: Box<[Rc<Host>]>,
    order: Order,
}

/// Who is next.
enum Order {
    /// One after the other.
    Turns(Cell<u32>),
    /// Any.
    Drawn,
    /// One with few requests in flight, all of the same weight.
    Fewest(LeastRequest),
    /// By weights that differ, or change.
    Weighted(Box<Weighted>),
    /// The one that a hash leads to.
    Hashed(Box<Hashed>),
}

struct Weighted {
    edf: RefCell<Edf>,
    /// Power of the requests in flight; 0: they do not count.
    bias: f64,
    slow_start: Option<Young>,
}

/// Hosts that may be new.
struct Young {
    settings: SlowStart,
    /// Since when each is there.
    since: Box<[Option<Instant>]>,
}

/// What of a cluster makes groups of its hosts.
#[derive(Clone, Copy)]
pub(super) struct Making<'m> {
    pub(super) config: &'m config::Cluster,
    pub(super) random: &'m Random,
    /// `active_request_bias` and `aggression` as the runtime has them.
    pub(super) bias: f64,
    pub(super) slow_start: Option<SlowStart>,
    /// Since when a host is there, where that matters.
    pub(super) since: &'m dyn Fn(&Host) -> Option<Instant>,
}

/// What a pick goes by.
#[derive(Clone, Copy)]
pub(super) struct Picking<'p> {
    pub(super) random: &'p Random,
    /// The client's, where the policy goes by it, or any.
    pub(super) hash: u64,
    /// Hosts that were refused before.
    pub(super) attempt: u32,
    /// Requests of the cluster.
    pub(super) in_flight: u32,
}

// === impl Group ===

impl Group {
    /// Hosts that share what they get by their weights.
    pub(super) fn new(hosts: Vec<Rc<Host>>, making: Making<'_>) -> Self {
        if making.config.lb_policy.goes_by_hash() {
            let total: f64 = hosts.iter().map(|host| f64::from(host.weight)).sum();
            let shares = hosts.iter().map(|host| f64::from(host.weight) / total);
            let shares: Vec<f64> = shares.collect();
            return Self::hashed(hosts, &shares, making);
        }
        let order = making.order(&hosts);
        Self {
            hosts: hosts.into(),
            order,
        }
    }

    /// Hosts that have these shares of all hashes.
    pub(super) fn hashed(hosts: Vec<Rc<Host>>, shares: &[f64], making: Making<'_>) -> Self {
        let hashing = &making.config.load_balancing.consistent_hashing;
        let keyed = hosts.iter().zip(shares);
        let keyed = keyed.map(|(host, share)| Keyed::new(host, hashing.by_hostname, *share));
        let keyed: Vec<Keyed> = keyed.collect();
        let order = match Hashed::new(&keyed, making.config) {
            Some(hashed) => Order::Hashed(Box::new(hashed)),
            None => Order::Drawn,
        };
        Self {
            hosts: hosts.into(),
            order,
        }
    }

    #[cfg(test)]
    pub(super) fn hosts(&self) -> &[Rc<Host>] {
        &self.hosts
    }

    /// The next one; none if there are none.
    pub(super) fn pick(&self, picking: Picking<'_>) -> Option<&Rc<Host>> {
        let index = match (&self.order, self.hosts.len()) {
            (_, 0) => return None,
            (_, 1) => 0,
            (Order::Turns(next), count) => {
                let index = next.get() as usize % count;
                next.set(index as u32 + 1);
                index
            }
            (Order::Drawn, count) => picking.random.below(count),
            (Order::Fewest(settings), _) => self.fewest(*settings, picking.random),
            (Order::Weighted(weighted), _) => weighted.pick(&self.hosts)?,
            (Order::Hashed(hashed), _) => {
                let hash = (picking.hash, picking.attempt);
                hashed.pick(&self.hosts, hash, picking.in_flight)?
            }
        };
        self.hosts.get(index)
    }

    /// Another host that is good, where there is one.
    pub(super) fn other(
        &self,
        picking: Picking<'_>,
        is_good: impl Fn(&Host) -> bool,
    ) -> Option<&Rc<Host>> {
        if let Order::Hashed(hashed) = &self.order {
            let is_good = |index: usize| self.hosts.get(index).is_some_and(|host| is_good(host));
            if let Some(index) = hashed.other(picking.hash, is_good) {
                return self.hosts.get(index);
            }
        }
        // Begin anywhere, or all that failed would go to the same.
        let first = picking.random.below(self.hosts.len());
        let (before, after) = self.hosts.split_at(first);
        after.iter().chain(before).find(|host| is_good(host))
    }

    fn fewest(&self, settings: LeastRequest, random: &Random) -> usize {
        let active = |index: usize| self.hosts.get(index).map_or(u32::MAX, |host| host.active());
        let Some(choices) = settings.choice_count else {
            return self.fewest_of_all(random);
        };
        let draw = || random.below(self.hosts.len());
        let first = draw();
        let mut fewest = (active(first), first);
        for _ in 1..choices {
            let drawn = draw();
            let active = active(drawn);
            if active < fewest.0 {
                fewest = (active, drawn);
            }
        }
        fewest.1
    }

    /// Any of those that have the fewest.
    fn fewest_of_all(&self, random: &Random) -> usize {
        let (mut fewest, mut alike) = ((u32::MAX, 0), 0);
        for (index, host) in self.hosts.iter().enumerate() {
            let active = host.active();
            if active < fewest.0 || alike == 0 {
                (fewest, alike) = ((active, index), 1);
            } else if active == fewest.0 {
                alike += 1;
                // Each of so many stays as often as any other.
                if random.below(alike) == 0 {
                    fewest.1 = index;
                }
            }
        }
        fewest.1
    }
}

// === impl Making ===

impl Making<'_> {
    fn order(&self, hosts: &[Rc<Host>]) -> Order {
        let policy = self.config.lb_policy;
        if policy == LbPolicy::Random {
            return Order::Drawn;
        }
        let slow_start = self.slow_start.map(|settings| Young {
            settings,
            since: hosts.iter().map(|host| (self.since)(host)).collect(),
        });
        let now = Instant::now();
        let slow_start = slow_start.filter(|young| young.is_any(now));
        let is_even = hosts
            .windows(2)
            .all(|pair| matches!(pair, [one, other] if one.weight == other.weight));
        if (!is_even || slow_start.is_some()) && hosts.len() > 1 {
            let least_request = matches!(policy, LbPolicy::LeastRequest(_));
            let mut weighted = Weighted {
                edf: RefCell::new(Edf::new(std::iter::empty(), || 0.0)),
                bias: if least_request { self.bias } else { 0.0 },
                slow_start,
            };
            let weights = hosts.iter().enumerate();
            let weights = weights.map(|(index, host)| weighted.weight(index, host, now));
            let edf = Edf::new(weights, || self.random.fraction());
            weighted.edf = RefCell::new(edf);
            return Order::Weighted(Box::new(weighted));
        }
        match policy {
            LbPolicy::LeastRequest(settings) => Order::Fewest(settings),
            _ => Order::Turns(Cell::new(self.random.draw() as u32)),
        }
    }
}

// === impl Weighted ===

impl Weighted {
    fn pick(&self, hosts: &[Rc<Host>]) -> Option<usize> {
        let now = Instant::now;
        self.edf.borrow_mut().pick(|index| {
            let now = self.slow_start.as_ref().map(|_| now());
            let host = hosts.get(index);
            host.map_or(1.0, |host| match now {
                Some(now) => self.weight(index, host, now),
                None => self.steady_weight(host),
            })
        })
    }

    fn weight(&self, index: usize, host: &Host, now: Instant) -> f64 {
        let young = self.slow_start.as_ref();
        self.steady_weight(host) * young.map_or(1.0, |young| young.factor(index, now))
    }

    /// Of a host that is not new.
    fn steady_weight(&self, host: &Host) -> f64 {
        let weight = f64::from(host.weight);
        if self.bias == 0.0 {
            return weight;
        }
        let busy = f64::from(host.active()) + 1.0;
        // The usual power takes no time.
        let by = if self.bias == 1.0 {
            busy
        } else {
            busy.powf(self.bias)
        };
        weight / by
    }
}

// === impl Young ===

impl Young {
    fn is_any(&self, now: Instant) -> bool {
        let mut all = self.since.iter().flatten();
        all.any(|since| now.duration_since(*since) <= self.settings.window)
    }

    /// The share of its weight that a host has.
    fn factor(&self, index: usize, now: Instant) -> f64 {
        let Some(Some(since)) = self.since.get(index) else {
            return 1.0;
        };
        let age = now.duration_since(*since);
        if age >= self.settings.window {
            return 1.0;
        }
        // As Envoy counts it.
        let passed = age.as_millis().max(1) as f64 / self.settings.window.as_millis().max(1) as f64;
        let grown = passed.powf(1.0 / self.settings.aggression);
        grown.max(self.settings.min_weight)
    }
}

#[cfg(test)]
mod tests;
