//! Hosts in the order of their turns.

use std::rc::Rc;

use super::Host;

/// Entries of the schedule at most; weights are rounded to fit.
const MAX_SCHEDULE: u64 = 1024;

/// Repeats each host by its share of the weight, spread out rather than in runs.
pub(super) fn schedule(hosts: &[Rc<Host>]) -> Vec<Rc<Host>> {
    let divisor = hosts
        .iter()
        .fold(0, |divisor, host| gcd(divisor, u64::from(host.weight)));
    let total: u64 = hosts
        .iter()
        .map(|host| u64::from(host.weight) / divisor.max(1))
        .sum();
    if total == hosts.len() as u64 {
        return hosts.to_vec();
    }
    let scale = (total.div_ceil(MAX_SCHEDULE)).max(1) * divisor.max(1);
    let mut entries: Vec<(u64, usize)> = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let count = (u64::from(host.weight) / scale).max(1);
        // The k-th of n entries stands at (k + 1/2) / n of the round.
        entries.extend((0..count).map(|k| ((2 * k + 1) * (1 << 32) / (2 * count), index)));
    }
    entries.sort_unstable();
    entries
        .into_iter()
        .map(|(_, index)| Rc::clone(&hosts[index]))
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
