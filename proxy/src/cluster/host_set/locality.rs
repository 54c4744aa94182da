//! The hosts of a priority by their localities.

use std::{collections::BTreeMap, rc::Rc};

use super::super::{
    Host,
    group::{Group, Making},
};
use crate::config::{LoadAssignment, endpoint::LocalityEndpoints};

/// Region, zone and part of a zone.
pub(in super::super) type Name<'l> = (&'l str, &'l str, &'l str);

/// The hosts of a priority by their localities, in Envoy's order: the own one, then by their names.
pub(in super::super) struct Localities<'l> {
    pub(super) all: Vec<Locality<'l>>,
    /// The first one is the proxy's own.
    pub(super) has_own: bool,
}

/// One locality.
pub(super) struct Locality<'l> {
    pub(super) name: Name<'l>,
    /// `load_balancing_weight`; 0 if there is none.
    weight: u32,
    priority: u32,
    pub(super) hosts: Vec<&'l Rc<Host>>,
}

/// The weights of localities in a subset.
#[derive(Clone, Copy)]
pub(in super::super) enum Scaled<'s> {
    /// As the cluster has them.
    No,
    /// They do not count (`locality_weight_aware` is not set).
    Ignored,
    /// By the share of a locality's hosts that are in the subset. All hosts of the cluster.
    By(&'s [Rc<Host>]),
}

/// The name of a locality.
pub(in super::super) fn name_of(locality: &LocalityEndpoints) -> Name<'_> {
    (&locality.region, &locality.zone, &locality.sub_zone)
}

// === impl Localities ===

impl<'l> Localities<'l> {
    /// `hosts` are of one priority.
    pub(in super::super) fn new(
        endpoints: &'l LoadAssignment,
        own: Option<Name<'_>>,
        hosts: &[&'l Rc<Host>],
    ) -> Self {
        let mut by_name = BTreeMap::<(bool, Name<'l>), Locality<'l>>::new();
        for host in hosts {
            let Some(said) = endpoints.localities.get(host.locality as usize) else {
                continue;
            };
            let name = name_of(said);
            let locality = by_name
                .entry((own != Some(name), name))
                .or_insert_with(|| Locality {
                    name,
                    weight: 0,
                    priority: host.priority,
                    hosts: Vec::new(),
                });
            // Said more than once, the last one counts.
            if said.weight > 0 {
                locality.weight = said.weight;
            }
            locality.hosts.push(host);
        }
        let has_own = by_name.keys().next().is_some_and(|(is_other, _)| !is_other);
        Self {
            all: by_name.into_values().collect(),
            has_own,
        }
    }

    /// The members of each.
    pub(super) fn groups(
        &self,
        making: Making<'_>,
        is_member: &dyn Fn(&Host) -> bool,
    ) -> Box<[Group]> {
        let groups = self.all.iter().map(|locality| {
            let members = locality.hosts.iter().filter(|host| is_member(host));
            Group::new(members.map(|host| Rc::clone(host)).collect(), making)
        });
        groups.collect()
    }

    fn weights(&self, scaled: Scaled<'_>) -> Option<Vec<u32>> {
        let weight = |locality: &Locality<'_>| match scaled {
            Scaled::No | Scaled::Ignored => locality.weight,
            Scaled::By(whole) => {
                let first = locality.hosts.first();
                let alike = |host: &&Rc<Host>| {
                    host.priority == locality.priority
                        && first.is_some_and(|first| first.locality == host.locality)
                };
                let whole = whole.iter().filter(alike).count().max(1);
                let part = f64::from(locality.weight) * locality.hosts.len() as f64;
                (part / whole as f64).round() as u32
            }
        };
        match scaled {
            Scaled::Ignored => None,
            _ => Some(self.all.iter().map(weight).collect()),
        }
    }

    /// What the weight of each comes to where some of its hosts are no members; none if weights do not
    /// count.
    pub(super) fn effective_weights(
        &self,
        scaled: Scaled<'_>,
        overprovisioning_factor: u32,
        is_member: &dyn Fn(&Host) -> bool,
    ) -> Option<Vec<f64>> {
        let weights = self.weights(scaled)?;
        let effective = self.all.iter().zip(weights).map(|(locality, weight)| {
            let counted = locality.hosts.iter();
            let counted = counted.filter(|host| !host.flags().is_excluded()).count();
            let members = locality.hosts.iter().filter(|host| is_member(host)).count();
            if counted == 0 {
                return 0.0;
            }
            let factor = f64::from(overprovisioning_factor) / 100.0;
            let available = (factor * members as f64 / counted as f64).min(1.0);
            f64::from(weight) * available
        });
        Some(effective.collect())
    }

    /// Members and their shares of all hashes, by the weights of localities and their own; none if the
    /// former do not count.
    pub(super) fn shares(
        &self,
        scaled: Scaled<'_>,
        is_member: &dyn Fn(&Host) -> bool,
    ) -> Option<(Vec<Rc<Host>>, Vec<f64>)> {
        let weights = self.weights(scaled)?;
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let (mut members, mut shares) = (Vec::new(), Vec::new());
        for (locality, weight) in self.all.iter().zip(weights).filter(|(_, it)| *it > 0) {
            let of_locality = locality.hosts.iter().filter(|host| is_member(host));
            let of_locality: Vec<&Rc<Host>> = of_locality.copied().collect();
            let sum: f64 = of_locality.iter().map(|host| f64::from(host.weight)).sum();
            for host in of_locality {
                members.push(Rc::clone(host));
                shares.push(f64::from(host.weight) / sum * f64::from(weight) / total);
            }
        }
        Some((members, shares))
    }
}
