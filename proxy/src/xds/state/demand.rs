//! Destinations that connections asked for.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Kind, State, entry::Entry};
use crate::{config::listener::OnDemand, xds::resource::Resource};

/// Destinations that are remembered at a time. Far more than a pod talks to; a scan of the network
/// is not remembered beyond it.
const MAX_DEMANDS: usize = 8192;
/// How often idleness is looked at, at most.
const MIN_IDLE_CHECK: Duration = Duration::from_secs(1);

/// A destination that a connection asked for.
#[derive(Debug)]
pub(super) struct Demanded {
    /// When a connection last asked.
    asked: Instant,
    /// What was published for it.
    pub(super) answer: Answer,
}

/// What was published for a destination.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing yet.
    None,
    /// A listener.
    Present {
        published: Resource,
        /// Connections at the last look, and when that number last moved.
        connections: u64,
        moved: Instant,
    },
    /// That there is none.
    Absent { since: Instant },
}

/// How a destination is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::xds) struct Usage {
    /// Connections that ever went to it.
    pub(in crate::xds) connections: u64,
    /// One is open.
    pub(in crate::xds) is_held: bool,
}

// === impl State ===

impl State {
    /// A connection went to a destination that the snapshot does not know. False if there is no
    /// room to remember it.
    pub(in crate::xds) fn demand(&mut self, destination: SocketAddr, now: Instant) -> bool {
        if let Some(known) = self.demands.get_mut(&destination) {
            known.asked = now;
            return true;
        }
        if self.demands.len() >= MAX_DEMANDS {
            return false;
        }
        let demanded = Demanded {
            asked: now,
            answer: Answer::None,
        };
        self.demands.insert(destination, demanded);
        true
    }

    /// Destinations that are present, and absent.
    pub(in crate::xds) fn demand_counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Answer) -> bool| {
            self.demands
                .values()
                .filter(|demanded| is(&demanded.answer))
                .count()
        };
        (
            count(|answer| matches!(answer, Answer::None)),
            count(|answer| matches!(answer, Answer::Present { .. })),
            count(|answer| matches!(answer, Answer::Absent { .. })),
        )
    }

    /// Forgets what was absent for long enough, what nobody answered, and, by `usage`, what is
    /// idle. Returns how many were idle.
    pub(in crate::xds) fn expire(
        &mut self,
        now: Instant,
        usage: impl Fn(SocketAddr) -> Option<Usage>,
    ) -> usize {
        self.workloads.expire(now);
        let Some(on_demand) = self.settings.on_demand else {
            return 0;
        };
        let since = |then: Instant| now.saturating_duration_since(then);
        let is_check = self
            .next_idle_check(&on_demand)
            .is_some_and(|next| now >= next);
        if is_check {
            self.last_idle_check = Some(now);
        }
        let is_connected = self.stream.is_some();
        let mut idle = 0;
        self.demands
            .retain(|address, demanded| match &mut demanded.answer {
                // While nobody can answer, it is enough that the next connection asks again.
                Answer::None => is_connected || since(demanded.asked) < on_demand.absent_ttl,
                Answer::Absent { since: then } => since(*then) < on_demand.absent_ttl,
                Answer::Present {
                    connections, moved, ..
                } => {
                    let used = usage(*address);
                    if used.is_none_or(|used| used.is_held || used.connections != *connections) {
                        *connections = used.map_or(*connections, |used| used.connections);
                        *moved = now;
                    }
                    let is_idle = is_check && since(*moved) >= on_demand.idle;
                    idle += usize::from(is_idle);
                    !is_idle
                }
            });
        idle
    }

    /// When [`State::expire`] has something to do by the passing of time alone.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let of_workloads = self.workloads.next_expiry();
        let of_destinations = self.next_expiry_of_destinations();
        of_workloads.into_iter().chain(of_destinations).min()
    }

    fn next_expiry_of_destinations(&self) -> Option<Instant> {
        let on_demand = self.settings.on_demand?;
        let is_connected = self.stream.is_some();
        let short = self
            .demands
            .values()
            .filter_map(|demanded| match &demanded.answer {
                Answer::None if is_connected => None,
                Answer::None => Some(demanded.asked + on_demand.absent_ttl),
                Answer::Absent { since } => Some(*since + on_demand.absent_ttl),
                Answer::Present { .. } => None,
            });
        short.chain(self.next_idle_check(&on_demand)).min()
    }

    /// When idleness is looked at next: four looks a period, so that a destination is forgotten
    /// at most a quarter late.
    fn next_idle_check(&self, on_demand: &OnDemand) -> Option<Instant> {
        let first = self
            .demands
            .values()
            .filter_map(|demanded| match &demanded.answer {
                Answer::Present { moved, .. } => Some(*moved),
                Answer::None | Answer::Absent { .. } => None,
            });
        let pause = (on_demand.idle / 4).max(MIN_IDLE_CHECK);
        let first = first.min()?;
        Some(self.last_idle_check.map_or(first, |last| last.max(first)) + pause)
    }

    /// What is to be answered for a destination, if anything yet.
    pub(super) fn verdict(&self, destination: SocketAddr, now: Instant) -> Verdict {
        if self.settings.all_listeners {
            // Listeners that are there are published by their own address.
            let is_initialized = self.is_initialized(Kind::Listener, now);
            return if is_initialized {
                Verdict::Absent
            } else {
                Verdict::Wait
            };
        }
        let name = weir_api::names::outbound_listener(destination);
        let entry = self.entries[Kind::Listener as usize].get(&name);
        match entry.and_then(|entry| entry.active.clone()) {
            Some(resource) => Verdict::Present(resource),
            None if entry.is_some_and(|entry: &Entry| entry.is_missing(now)) => Verdict::Absent,
            None => Verdict::Wait,
        }
    }
}

/// What is to be answered for a destination.
#[derive(Debug)]
pub(super) enum Verdict {
    Wait,
    Present(Resource),
    Absent,
}
