//! Who is ejected, for how long, and who comes back. Without a clock of its own.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use super::{
    super::health::HostHealth,
    Consecutive, OutlierStats,
    ejection::{Ejection, Origin},
    rate::{Rate, Seen},
    record::Record,
};
use crate::{
    config::outlier_detection::{OutlierDetection, Volume},
    random,
    stats::Within,
};

/// The outliers of one cluster.
#[derive(Debug)]
pub(in super::super) struct Detector {
    settings: OutlierDetection,
    stats: Arc<Within<OutlierStats>>,
    hosts: BTreeMap<SocketAddr, Record>,
    rates: Rates,
    random: u64,
    /// What nobody has asked for yet.
    changes: Vec<Change>,
}

/// A host that was ejected, or is no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Change {
    pub(in super::super) address: SocketAddr,
    /// None: it is back.
    pub(in super::super) ejected: Option<Ejection>,
}

/// Success rates of the last interval, of errors that hosts made and of failures to reach them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates(pub(crate) [Option<Rate>; 2]);

// === impl Detector ===

impl Detector {
    pub(in super::super) fn new(
        settings: &OutlierDetection,
        stats: &Arc<Within<OutlierStats>>,
    ) -> Self {
        // Those of a configuration before are no longer ejected.
        stats.ejections_active.set(0);
        Self {
            settings: settings.clone(),
            stats: Arc::clone(stats),
            hosts: BTreeMap::new(),
            rates: Rates::default(),
            random: random::seed(),
            changes: Vec::new(),
        }
    }

    /// Takes over who the hosts are. Those that are gone are forgotten.
    pub(in super::super) fn set_hosts(&mut self, states: &HashMap<SocketAddr, Arc<HostHealth>>) {
        self.hosts.retain(|address, _| states.contains_key(address));
        for (address, health) in states {
            let record = || Record::new(Arc::clone(health));
            self.hosts.entry(*address).or_insert_with(record);
        }
        self.count_active();
    }

    /// Who was ejected or came back since this was asked last.
    pub(in super::super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(in super::super) fn rates(&self) -> Rates {
        self.rates
    }

    pub(in super::super) fn success_rates(&self, address: SocketAddr) -> [Option<f64>; 2] {
        self.hosts
            .get(&address)
            .map_or([None; 2], |record| record.rates)
    }

    /// A host has failed so often in a row.
    pub(in super::super) fn suspect(
        &mut self,
        address: SocketAddr,
        kind: Consecutive,
        now: Instant,
    ) {
        // It may have gone meanwhile, or another worker was quicker.
        let ejected = self.hosts.get(&address).map(Record::is_ejected);
        if ejected != Some(false) {
            return;
        }
        self.detect(address, Ejection::Consecutive(kind), now);
        if kind == Consecutive::Error {
            self.stats.ejections_consecutive_5xx.inc();
        }
        if let Some(record) = self.hosts.get(&address) {
            record.health.monitor.reset(kind);
        }
    }

    /// A health check of a host has succeeded, which ends an ejection.
    pub(in super::super) fn uneject(&mut self, address: SocketAddr) {
        let record = self.hosts.get_mut(&address);
        let Some(record) = record.filter(|record| record.is_ejected()) else {
            return;
        };
        record.uneject();
        let ejected = None;
        self.changes.push(Change { address, ejected });
        self.count_active();
    }

    /// Brings hosts back whose time is over, and ejects others by their rates.
    pub(in super::super) fn sweep(&mut self, now: Instant) {
        let mut seen: [Vec<Seen>; 2] = Default::default();
        for (address, record) in &mut self.hosts {
            if record.uneject_in_time(&self.settings, now) {
                let (address, ejected) = (*address, None);
                self.changes.push(Change { address, ejected });
            }
            record.rates = [None; 2];
            for (tally, seen) in record.health.monitor.take().into_iter().zip(&mut seen) {
                if !record.is_ejected() && tally.0 > 0 {
                    seen.push(Seen::new(*address, tally));
                }
            }
        }
        self.count_active();
        self.rates = Rates::default();
        let [external, local] = seen;
        self.compare(Origin::External, &external, now);
        self.compare(Origin::Local, &local, now);
    }

    /// Ejects hosts by what they did in an interval.
    fn compare(&mut self, origin: Origin, seen: &[Seen], now: Instant) {
        let rate = self.settings.success_rate;
        let failures = self.settings.failure_percentage;
        let hosts = self.hosts.len();
        if !rate.volume.has_hosts(hosts) && !failures.volume.has_hosts(hosts) {
            return;
        }
        let least = rate
            .volume
            .request_volume
            .min(failures.volume.request_volume);
        for one in seen.iter().filter(|one| one.requests >= u64::from(least)) {
            if let Some(record) = self.hosts.get_mut(&one.address) {
                record.rates[origin as usize] = Some(one.success_rate);
            }
        }
        let enough = |volume: Volume| -> Vec<Seen> {
            let wanted = u64::from(volume.request_volume);
            let seen = seen.iter().copied();
            let seen: Vec<Seen> = seen.filter(|one| one.requests >= wanted).collect();
            match volume.has_hosts(seen.len()) {
                true => seen,
                false => Vec::new(),
            }
        };
        let (rated, failing) = (enough(rate.volume), enough(failures.volume));
        if !rated.is_empty() {
            let found = Rate::of(&rated, f64::from(rate.stdev_factor) / 1000.0);
            self.rates.0[origin as usize] = Some(found);
            for one in rated {
                if one.success_rate < found.ejection_threshold {
                    self.stats.ejections_success_rate.inc();
                    self.detect(one.address, Ejection::SuccessRate(origin), now);
                }
            }
        }
        for one in failing {
            if 100.0 - one.success_rate >= f64::from(failures.threshold) {
                self.detect(one.address, Ejection::FailurePercentage(origin), now);
            }
        }
    }

    /// An outlier is found, which is ejected if enough others are left.
    fn detect(&mut self, address: SocketAddr, why: Ejection, now: Instant) {
        let (detected, enforced) = why.counters(&self.stats);
        detected.inc();
        let active = self.hosts.values().filter(|one| one.is_ejected()).count();
        let percent = 100.0 * (active + 1) as f64 / self.hosts.len() as f64;
        let allowed = percent <= f64::from(self.settings.max_ejection_percent)
            || (self.settings.always_eject_one_host && active == 0);
        if !allowed {
            self.stats.ejections_overflow.inc();
            return;
        }
        if why.is_in_total() {
            self.stats.ejections_total.inc();
        }
        let chance = random::next(&mut self.random) % 100;
        if chance >= u64::from(why.enforcing(&self.settings)) {
            return;
        }
        let random = random::next(&mut self.random);
        let Some(record) = self.hosts.get_mut(&address) else {
            return;
        };
        if record.is_ejected() {
            return;
        }
        enforced.inc();
        self.stats.ejections_enforced_total.inc();
        record.eject(&self.settings, random, now);
        let ejected = Some(why);
        self.changes.push(Change { address, ejected });
        self.count_active();
    }

    fn count_active(&self) {
        let active = self.hosts.values().filter(|one| one.is_ejected()).count();
        let active = i64::try_from(active).unwrap_or(i64::MAX);
        self.stats.ejections_active.set(active);
    }
}
