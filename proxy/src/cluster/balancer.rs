//! Load balancing: which host serves next.

use std::{cell::Cell, rc::Rc};

use super::{Host, HostSet, Tried, host_set::Choice};
use crate::config::cluster::LbPolicy;

/// Picks hosts by a policy.
pub(super) struct Balancer {
    policy: LbPolicy,
    next: Cell<usize>,
    random: Cell<u64>,
}

// === impl Balancer ===

impl Balancer {
    pub(super) fn new(policy: LbPolicy) -> Self {
        let seed = crate::random::seed();
        // Begin anywhere, or every sidecar would send its first request to the same endpoint.
        Self {
            policy,
            next: Cell::new(seed as usize),
            random: Cell::new(seed),
        }
    }

    /// The hosts to pick from: those of the client's `hash`, where the policy goes by it.
    pub(super) fn choose<'h>(&self, hosts: &'h HostSet, hash: Option<u64>) -> Option<&'h Choice> {
        let by_hash = match self.policy {
            LbPolicy::RingHash(_) => hash,
            _ => None,
        };
        hosts.choose(|| by_hash.unwrap_or_else(|| self.draw()))
    }

    /// `hash` is the client's, where the policy goes by it. A client without one goes anywhere.
    pub(super) fn pick(
        &self,
        hosts: &Choice,
        hash: Option<u64>,
        tried: &Tried,
    ) -> Option<Rc<Host>> {
        if let Some(ring) = &hosts.ring {
            let hash = hash.unwrap_or_else(|| self.draw());
            return ring.pick(hash, |host| tried.has(host)).map(Rc::clone);
        }
        let schedule = hosts.schedule.as_slice();
        let picked = self.pick_one(schedule)?;
        if !tried.has(picked) {
            return Some(Rc::clone(picked));
        }
        let other = schedule.iter().find(|host| !tried.has(host));
        Some(Rc::clone(other.unwrap_or(picked)))
    }

    fn pick_one<'a>(&self, schedule: &'a [Rc<Host>]) -> Option<&'a Rc<Host>> {
        match (self.policy, schedule) {
            (_, []) => None,
            (_, [only]) => Some(only),
            (LbPolicy::RoundRobin | LbPolicy::ClusterProvided, schedule) => {
                let index = self.next.get() % schedule.len();
                self.next.set(index + 1);
                Some(&schedule[index])
            }
            (LbPolicy::Random | LbPolicy::RingHash(_), schedule) => {
                Some(&schedule[self.below(schedule.len())])
            }
            (LbPolicy::LeastRequest, schedule) => {
                let (one, two) = (self.below(schedule.len()), self.below(schedule.len()));
                let (one, two) = (&schedule[one], &schedule[two]);
                Some(if two.active() < one.active() {
                    two
                } else {
                    one
                })
            }
        }
    }

    fn below(&self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    pub(super) fn draw(&self) -> u64 {
        let mut state = self.random.get();
        let drawn = crate::random::next(&mut state);
        self.random.set(state);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{fixture, host_set::Grouping},
        *,
    };
    use crate::config::endpoint::{Endpoint, LoadAssignment, LocalityEndpoints};

    /// How often each of two hosts is picked of a hundred times, while the first is busy.
    fn picked(policy: LbPolicy) -> [usize; 2] {
        let endpoint = |port: u16| Endpoint::at(([10, 0, 0, 1], port).into());
        let locality = LocalityEndpoints {
            endpoints: vec![endpoint(1), endpoint(2)],
            ..Default::default()
        };
        let assignment = LoadAssignment {
            localities: vec![locality],
            ..LoadAssignment::default()
        };
        let hosts = HostSet::default().update(
            &assignment,
            Grouping::default(),
            &fixture::health("lb_policy: RANDOM"),
        );
        let busy = hosts.all().next().expect("a host");
        busy.add_active(5);
        let balancer = Balancer::new(policy);
        let mut picked = [0, 0];
        for _ in 0..100 {
            let choice = balancer.choose(&hosts, None).expect("a choice");
            let host = balancer.pick(choice, None, &Tried::default());
            let host = host.expect("a host");
            picked[usize::from(host.address.port()) - 1] += 1;
        }
        picked
    }

    #[test]
    fn each_policy_picks_in_its_way() {
        assert_eq!(picked(LbPolicy::RoundRobin), [50, 50]);
        // Both draws are the busy one a quarter of the time.
        let least = picked(LbPolicy::LeastRequest);
        assert!((5..45).contains(&least[0]), "{least:?}");
        let random = picked(LbPolicy::Random);
        assert!((20..80).contains(&random[0]), "{random:?}");
    }
}
