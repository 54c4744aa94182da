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
    let (healthy, degraded): (Vec<u64>, Vec<u64>) =
        availability(levels, thresholds).into_iter().unzip();
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

/// Of each priority what percent of the traffic its healthy and its degraded hosts could take.
pub(super) fn availability(levels: &[Level], thresholds: Thresholds) -> Vec<(u64, u64)> {
    let factor = u64::from(thresholds.overprovisioning_factor);
    let percent = |part: u64, total: u64| {
        let percent = (factor * part).checked_div(total);
        percent.map_or(0, |percent| percent.min(100))
    };
    let of_level = |level: &Level| {
        let Tally {
            total,
            healthy,
            degraded,
        } = level.weighed;
        (percent(healthy, total), percent(degraded, total))
    };
    levels.iter().map(of_level).collect()
}

/// The loads of a retry after attempts at hosts of these priorities, which get nothing. Looks at them anew
/// after each `frequency` of them; none: the loads are the usual ones.
///
/// <https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto>
pub(super) fn without(
    available: &[(u64, u64)],
    tried: impl ExactSizeIterator<Item = u32>,
    frequency: u32,
) -> Option<Vec<(u64, u64)>> {
    let seen = tried.len() / frequency.max(1) as usize * frequency.max(1) as usize;
    if seen == 0 {
        return None;
    }
    let mut left = available.to_vec();
    let total = |left: &[(u64, u64)]| left.iter().map(|(one, other)| one + other).sum::<u64>();
    for (number, priority) in (1..).zip(tried.take(seen)) {
        if let Some(level) = left.get_mut(priority as usize) {
            *level = (0, 0);
        }
        // All were tried: begin again.
        if number % frequency.max(1) as usize == 0 && total(&left) == 0 {
            left = available.to_vec();
        }
    }
    let total = total(&left).min(100);
    if total == 0 {
        return None;
    }
    let mut loads = vec![(0, 0); left.len()];
    let mut rest = 100;
    while rest > 0 {
        for (load, available) in loads.iter_mut().zip(&left) {
            let share = rest.min(available.0 * 100 / total);
            load.0 += share;
            rest -= share;
        }
        for (load, available) in loads.iter_mut().zip(&left) {
            let share = rest.min(available.1 * 100 / total);
            load.1 += share;
            rest -= share;
        }
    }
    Some(loads)
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
