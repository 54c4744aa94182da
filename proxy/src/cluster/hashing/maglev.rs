//! Maglev: a table in which each host has entries by its weight. Where hosts come and go few of the others'
//! entries change, and to find a host takes the same time for any number of them.
//!
//! <https://research.google/pubs/maglev-a-fast-and-reliable-software-network-load-balancer/>, section 3.4

use twox_hash::XxHash64;

use super::Keyed;
use crate::config::load_balancing::Maglev;

/// No host has taken the entry yet.
const FREE: u32 = u32::MAX;

/// The table: at each entry the index of a host.
pub(super) struct Table(Vec<u32>);

/// A host that takes entries.
struct Taker {
    index: u32,
    offset: u64,
    skip: u64,
    next: u64,
    share: f64,
    /// It sits out until the rounds have come so far.
    target: f64,
}

// === impl Table ===

impl Table {
    pub(super) fn new(hosts: &[Keyed], settings: Maglev) -> Self {
        let size = u64::from(settings.table_size);
        let most = hosts.iter().map(|host| host.share).fold(0.0, f64::max);
        if most <= 0.0 {
            return Self(Vec::new());
        }
        // In an order that does not depend on how they were listed.
        let mut sorted: Vec<(u32, &Keyed)> = (0..).zip(hosts).collect();
        sorted.sort_by(|(_, one), (_, other)| one.key.cmp(&other.key));
        let mut takers: Vec<Taker> = sorted
            .into_iter()
            .map(|(index, host)| Taker {
                index,
                offset: XxHash64::oneshot(0, host.key.as_bytes()) % size,
                skip: XxHash64::oneshot(1, host.key.as_bytes()) % (size - 1).max(1) + 1,
                next: 0,
                share: host.share,
                target: 0.0,
            })
            .collect();
        let mut table = vec![FREE; settings.table_size as usize];
        let mut left = table.len();
        for round in 1_u32.. {
            for taker in &mut takers {
                if left == 0 {
                    return Self(table);
                }
                // The heaviest takes one each round, one of half its weight each other round.
                if f64::from(round) * taker.share < taker.target {
                    continue;
                }
                taker.target += most;
                taker.take(&mut table, size);
                left -= 1;
            }
        }
        Self(table)
    }

    /// The index of the host that a hash leads to, another one for each attempt.
    pub(super) fn pick(&self, hash: u64, attempt: u32) -> Option<usize> {
        let hash = match attempt {
            0 => hash,
            // As Envoy: so many bits change that retries do not all lead to one host.
            attempt => hash ^ (u64::MAX - u64::from(attempt) + 1),
        };
        let at = hash.checked_rem(self.0.len() as u64)?;
        let index = self.0.get(usize::try_from(at).ok()?)?;
        usize::try_from(*index).ok()
    }
}

// === impl Taker ===

impl Taker {
    /// Takes the first free entry of its own order of them.
    fn take(&mut self, table: &mut [u32], size: u64) {
        loop {
            let at = (self.offset + self.skip * self.next) % size;
            self.next += 1;
            if let Some(entry @ &mut FREE) = table.get_mut(at as usize) {
                *entry = self.index;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(weights: &[(String, f64)]) -> Table {
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let hosts = weights.iter().map(|(key, weight)| Keyed {
            key: key.as_str().into(),
            share: weight / total,
        });
        let hosts: Vec<Keyed> = hosts.collect();
        Table::new(&hosts, Maglev { table_size: 4099 })
    }

    fn named(count: usize) -> Vec<(String, f64)> {
        (0..count)
            .map(|it| (format!("10.0.0.{it}:80"), 1.0))
            .collect()
    }

    proptest! {
        #[test]
        fn each_host_has_entries_by_its_weight(weights in prop::collection::vec(1_u32..20, 1..30)) {
            let hosts = weights.iter().enumerate();
            let hosts = hosts.map(|(it, weight)| (format!("h{it}"), f64::from(*weight)));
            let Table(entries) = table(&hosts.collect::<Vec<_>>());
            let total: u32 = weights.iter().sum();
            for (index, weight) in (0..).zip(weights) {
                let count = entries.iter().filter(|it| **it == index).count() as f64;
                let share = f64::from(weight) / f64::from(total);
                prop_assert!((count / entries.len() as f64 - share).abs() < 0.01);
            }
        }

        #[test]
        fn whose_host_stays_rarely_moves(count in 4_usize..40, gone in 0_usize..40) {
            let gone = gone % count;
            let (before, mut fewer) = (named(count), named(count));
            let name = fewer.remove(gone).0;
            let (all, rest) = (table(&before), table(&fewer));
            let (mut stayed, mut moved) = (0, 0);
            for hash in 0..4099 {
                let was = &before[all.pick(hash, 0).expect("a host")].0;
                let is = &fewer[rest.pick(hash, 0).expect("a host")].0;
                match was == is {
                    true => stayed += 1,
                    false if *was != name => moved += 1,
                    false => {}
                }
            }
            // Maglev moves some whose host is still there: less than so many for a table of a hundred
            // entries a host (figure 12 of the paper).
            prop_assert!(moved * 4 < stayed, "{moved} of {stayed}");
        }

        #[test]
        fn the_order_of_hosts_does_not_matter(count in 2_usize..20) {
            let hosts = named(count);
            let mut turned = hosts.clone();
            turned.reverse();
            let (one, other) = (table(&hosts), table(&turned));
            for hash in 0..4099 {
                let one = &hosts[one.pick(hash, 0).expect("a host")].0;
                prop_assert_eq!(one, &turned[other.pick(hash, 0).expect("a host")].0);
            }
        }
    }

    #[test]
    fn no_hosts_no_pick() {
        assert_eq!(table(&[]).pick(3, 0), None);
        assert_eq!(table(&[]).pick(3, 1), None);
    }

    #[test]
    fn tables_of_few_entries_are_filled() {
        for table_size in [2, 3, 5] {
            let hosts = ["a", "b"].map(|key| Keyed {
                key: key.into(),
                share: 0.5,
            });
            let Table(entries) = Table::new(&hosts, Maglev { table_size });
            assert!(entries.iter().all(|it| *it < 2), "{entries:?}");
        }
    }
}
