//! How much of the traffic each priority of a cluster gets, by the health of its hosts. All whole
//! percents, rounded as Envoy rounds them.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority>
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold>

/// The hosts of one priority: how many there are or, with `weighted_priority_health`, what they weigh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Level {
    /// How many there are, whatever their health. Always a count.
    pub(super) hosts: u64,
    /// Those whose health says something: not those that are excluded.
    pub(super) counted: Tally,
    /// What the share of traffic goes by.
    pub(super) weighed: Tally,
}

/// Hosts by their health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) total: u64,
    pub(super) healthy: u64,
    pub(super) degraded: u64,
}

/// What a cluster says of its priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thresholds {
    /// A priority whose healthy hosts are so many percent of all, divided by this, takes all traffic.
    pub(super) overprovisioning_factor: u32,
    /// With fewer percent of its hosts available, a priority takes health for an error; 0: never.
    pub(super) healthy_panic: u32,
}

/// What one priority gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Percent of traffic for its healthy hosts.
    pub(super) healthy: u64,
    /// Percent of traffic for its degraded hosts.
    pub(super) degraded: u64,
    /// Both shares go to all of its hosts.
    pub(super) in_panic: bool,
}

/// The loads of priorities from the highest on. They add up to 100, if there is any priority.
pub(super) fn loads(levels: &[Level], thresholds: Thresholds) -> Vec<Load> {
    let factor = u64::from(thresholds.overprovisioning_factor);
    let available = |part: fn(&Tally) -> u64| -> Vec<u64> {
        let percent = |level: &Level| match level.weighed.total {
            0 => 0,
            total => (factor * part(&level.weighed) / total).min(100),
        };
        levels.iter().map(percent).collect()
    };
    let (healthy, degraded) = (available(|t| t.healthy), available(|t| t.degraded));
    let total = healthy.iter().chain(&degraded).sum::<u64>().min(100);
    let mut loads = vec![Load::default(); levels.len()];
    distribute(&mut loads, (&healthy, &degraded), total);
    if thresholds.healthy_panic == 0 && total == 0 {
        // Nobody is there to take it, and nobody gets it.
        if let Some(first) = loads.first_mut() {
            first.healthy = 100;
        }
        return loads;
    }
    for (load, level) in loads.iter_mut().zip(levels) {
        load.in_panic = total < 100 && level.is_below(thresholds.healthy_panic);
    }
    if loads.iter().all(|load| load.in_panic) {
        distribute_by_size(&mut loads, levels);
    }
    loads
}

/// First among healthy hosts, then the rest among degraded ones. What rounding leaves goes to the
/// first that is available.
fn distribute(loads: &mut [Load], (healthy, degraded): (&[u64], &[u64]), total: u64) {
    if total == 0 {
        return;
    }
    let mut left = 100;
    let mut share = |available: u64| {
        let share = left.min(available * 100 / total);
        left -= share;
        share
    };
    for (load, available) in loads.iter_mut().zip(healthy) {
        load.healthy = share(*available);
    }
    for (load, available) in loads.iter_mut().zip(degraded) {
        load.degraded = share(*available);
    }
    let first = |available: &[u64]| available.iter().position(|percent| *percent > 0);
    match (first(healthy), first(degraded)) {
        (Some(first), _) => loads[first].healthy += left,
        (None, Some(first)) => loads[first].degraded += left,
        (None, None) => {}
    }
}

/// Where every priority is in panic: by the number of their hosts.
fn distribute_by_size(loads: &mut [Load], levels: &[Level]) {
    let hosts = levels.iter().map(|level| level.hosts).sum::<u64>();
    let mut left = 100;
    for (load, level) in loads.iter_mut().zip(levels) {
        load.degraded = 0;
        load.healthy = (100 * level.hosts).checked_div(hosts).unwrap_or(0);
        left -= load.healthy;
    }
    let first = levels.iter().position(|level| level.hosts > 0).unwrap_or(0);
    if let Some(first) = loads.get_mut(first) {
        first.healthy += left;
    }
}

// === impl Level ===

impl Level {
    /// Whether fewer than so many percent of its hosts are available.
    fn is_below(&self, percent: u32) -> bool {
        let Tally {
            total,
            healthy,
            degraded,
        } = self.counted;
        let available = healthy + degraded;
        percent > 0 && (total == 0 || available * 100 < total * u64::from(percent))
    }
}

#[cfg(test)]
mod tests;
