//! From what is active to changes of the snapshot.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    Kind, State,
    demand::{Answer, Verdict},
};
use crate::{
    snapshot::{Destination, DestinationListener},
    xds::{change::Change, resource::Resource},
};

impl State {
    /// Brings everything in line with what came in. The changes belong together: publish them as
    /// one.
    pub(in crate::xds) fn settle(&mut self, now: Instant) -> Vec<Change> {
        self.collect();
        self.promote(now);
        self.look_up_names();
        // A promotion may have dropped the last reference to what the old version needed.
        self.collect();
        self.settled_at = Some(now);
        let mut changes = self.resource_changes();
        changes.extend(self.warming_changes());
        changes.extend(self.destination_changes(now));
        changes
    }

    /// When [`State::settle`] or [`State::expire`] has something to do by the passing of time
    /// alone.
    pub(in crate::xds) fn next_wakeup(&self) -> Option<Instant> {
        self.next_overdue()
            .into_iter()
            .chain(self.next_expiry())
            .min()
    }

    fn resource_changes(&mut self) -> Vec<Change> {
        let mut active = BTreeMap::new();
        for kind in Kind::ALL {
            for (name, entry) in &self.entries[kind as usize] {
                // Listeners by need are published by destination.
                let by_need = kind == Kind::Listener && !self.settings.all_listeners;
                if by_need && !self.is_replaceable(kind, name) {
                    continue;
                }
                if let Some(resource) = &entry.active {
                    active.insert((kind, name.clone()), resource.clone());
                }
            }
        }
        let mut changes = Vec::new();
        for (reference, old) in &self.published {
            let stays = active.get(reference);
            if let Resource::Destination(listener) = old {
                let same_address = |new: &Resource| matches!(new, Resource::Destination(new) if new.address == listener.address);
                if !stays.is_some_and(same_address) {
                    changes.push(Change::Forget(listener.address));
                }
            }
            let is_bound = |new: &Resource| !matches!(new, Resource::Destination(_));
            if is_bound(old) && !stays.is_some_and(is_bound) {
                let (kind, name) = reference;
                changes.push(Change::Remove(*kind, name.clone()));
            }
        }
        for (reference, new) in &active {
            if !self.published.get(reference).is_some_and(|old| old.is(new)) {
                changes.push(Change::Set(reference.1.clone(), new.clone()));
            }
        }
        self.published = active;
        changes
    }

    fn destination_changes(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        self.release_published_destinations();
        let addresses: Vec<_> = self.demands.keys().copied().collect();
        for address in addresses {
            let verdict = self.verdict(address, now);
            let Some(demanded) = self.demands.get_mut(&address) else {
                continue;
            };
            match verdict {
                Verdict::Present(Resource::Destination(listener)) => {
                    let new = Resource::Destination(Arc::clone(&listener));
                    if matches!(&demanded.answer, Answer::Present { published, .. } if published.is(&new))
                    {
                        continue;
                    }
                    demanded.answer = Answer::Present {
                        published: new,
                        connections: 0,
                        moved: now,
                    };
                    let present = Arc::new(DestinationListener::new(listener));
                    changes.push(Change::Destination(address, Destination::Present(present)));
                }
                Verdict::Absent if !matches!(demanded.answer, Answer::Absent { .. }) => {
                    demanded.answer = Answer::Absent { since: now };
                    changes.push(Change::Destination(address, Destination::Absent));
                }
                Verdict::Present(_) | Verdict::Absent | Verdict::Wait => {}
            }
        }
        let demands = &self.demands;
        self.answered_destinations.retain(|address| {
            let stays = demands.contains_key(address);
            if !stays {
                changes.push(Change::Forget(*address));
            }
            stays
        });
        for change in &changes {
            if let Change::Destination(address, _) = change {
                self.answered_destinations.insert(*address);
            }
        }
        changes
    }

    /// With a wildcard, a destination that was absent may have got its listener since: that is
    /// what counts then, and it must not be forgotten with the demand.
    fn release_published_destinations(&mut self) {
        for resource in self.published.values() {
            if let Resource::Destination(listener) = resource {
                self.demands.remove(&listener.address);
                self.answered_destinations.remove(&listener.address);
            }
        }
    }
}
