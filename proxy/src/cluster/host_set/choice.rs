//! Which hosts get which share of picks.

use std::{cell::RefCell, rc::Rc};

use super::{
    super::{
        Host,
        balancer::Pick,
        edf::Edf,
        group::{Group, Making},
        health::{Health, HealthFlags},
        priority_load::{Level, Load, Tally, Thresholds, loads},
    },
    locality::{Localities, Scaled},
    zones::{Local, Zones},
};
use crate::config::{LoadAssignment, endpoint::Policy, load_balancing::LocalityLb};

/// Hosts among which one is picked, and how often it is among these.
pub(in super::super) struct Choice {
    /// Of a hundred picks those below this number, less those of choices before it.
    pub(super) below: u64,
    /// 0 is the highest.
    pub(in super::super) priority: u32,
    pub(super) source: Source,
    /// Health does not count.
    pub(in super::super) in_panic: bool,
    /// All of them. Nobody is picked where there are none.
    pub(super) hosts: Group,
    /// The same by their localities, where these count.
    spread: Option<Box<Spread>>,
}

/// How localities share what they get.
enum Spread {
    /// By their weights.
    Weighted {
        turns: RefCell<Edf>,
        weights: Box<[f64]>,
        groups: Box<[Group]>,
    },
    /// What the own zone can take stays there.
    Zones(Zones),
}

/// What of a cluster decides who may be picked.
#[derive(Clone, Copy)]
pub(in super::super) struct Grouping<'g> {
    pub(in super::super) making: Making<'g>,
    pub(in super::super) endpoints: &'g LoadAssignment,
    /// The local cluster, where there is one and zones count.
    pub(in super::super) local: Option<Local<'g>>,
    /// Whether localities have the weights that their cluster says, and how a subset scales these.
    pub(in super::super) scaled: Scaled<'g>,
}

/// Which hosts of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Healthy,
    Degraded,
}

// === impl Choice ===

impl Choice {
    /// Of a hundred picks those below this number are its own, or of choices before it.
    pub(in super::super) fn below(&self) -> u64 {
        self.below
    }

    /// The next host, and those it was picked from; none if there are none.
    pub(in super::super) fn pick(&self, pick: &Pick<'_>) -> Option<(&Group, &Rc<Host>)> {
        let group = self.group(pick)?;
        Some((group, group.pick(pick.picking)?))
    }

    fn group(&self, pick: &Pick<'_>) -> Option<&Group> {
        match self.spread.as_deref() {
            None => Some(&self.hosts),
            Some(Spread::Weighted {
                turns,
                weights,
                groups,
            }) => {
                let weight = |index: usize| weights.get(index).copied().unwrap_or(1.0);
                groups.get(turns.borrow_mut().pick(weight)?)
            }
            Some(Spread::Zones(zones)) => zones.group(&self.hosts, pick),
        }
    }
}

/// Hosts by their priorities.
fn levels_of(all: &[Rc<Host>]) -> Vec<Vec<&Rc<Host>>> {
    let mut levels: Vec<Vec<&Rc<Host>>> = Vec::new();
    for host in all {
        let priority = host.priority as usize;
        if levels.len() <= priority {
            levels.resize_with(priority + 1, Vec::new);
        }
        levels[priority].push(host);
    }
    levels
}

/// What each priority has, from the highest on.
pub(super) fn levels(all: &[Rc<Host>], policy: Policy) -> Vec<Level> {
    let levels = levels_of(all);
    levels.iter().map(|hosts| level(hosts, policy)).collect()
}

fn level(hosts: &[&Rc<Host>], policy: Policy) -> Level {
    let mut level = Level {
        hosts: hosts.len() as u64,
        ..Level::default()
    };
    for host in hosts {
        let flags = host.flags();
        level.counted.add(flags, 1);
        let weight = match policy.weighted_priority_health {
            true => host.weight.into(),
            false => 1,
        };
        level.weighed.add(flags, weight);
    }
    level
}

// === impl Grouping ===

impl Grouping<'_> {
    /// Healthy hosts of all priorities come first, then degraded ones.
    pub(super) fn choices(self, all: &[Rc<Host>]) -> Vec<Choice> {
        let levels = levels_of(all);
        let loads = loads(&self.tallies(&levels), self.thresholds());
        let (mut choices, mut below) = (Vec::new(), 0);
        for source in [Source::Healthy, Source::Degraded] {
            for ((priority, load), hosts) in (0..).zip(&loads).zip(&levels) {
                let share = match source {
                    Source::Healthy => load.healthy,
                    Source::Degraded => load.degraded,
                };
                if share > 0 {
                    below += share;
                    let mut choice = self.choice(hosts, (priority, *load, source));
                    choice.below = below;
                    choices.push(choice);
                }
            }
        }
        choices
    }

    /// The choice that a number leads to where each priority gets one of these loads, healthy and degraded.
    pub(super) fn choice_by(
        self,
        all: &[Rc<Host>],
        loads: &[(u64, u64)],
        draw: u64,
    ) -> Option<Choice> {
        let levels = levels_of(all);
        let thresholds = self.thresholds();
        let usual = super::super::priority_load::loads(&self.tallies(&levels), thresholds);
        let (mut below, point) = (0, draw % 100);
        for source in [Source::Healthy, Source::Degraded] {
            for (priority, (healthy, degraded)) in (0_u32..).zip(loads) {
                below += match source {
                    Source::Healthy => healthy,
                    Source::Degraded => degraded,
                };
                if point < below {
                    let hosts = levels.get(priority as usize)?;
                    let load = usual.get(priority as usize)?;
                    return Some(self.choice(hosts, (priority, *load, source)));
                }
            }
        }
        None
    }

    /// Of each priority what percent of the traffic it could take, healthy and degraded.
    pub(super) fn availability(self, all: &[Rc<Host>]) -> Vec<(u64, u64)> {
        let tallies = self.tallies(&levels_of(all));
        super::super::priority_load::availability(&tallies, self.thresholds())
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds {
            overprovisioning_factor: self.endpoints.policy.overprovisioning_factor,
            healthy_panic: self.making.config.panic.threshold,
        }
    }

    fn tallies(&self, levels: &[Vec<&Rc<Host>>]) -> Vec<Level> {
        let policy = self.endpoints.policy;
        levels.iter().map(|hosts| level(hosts, policy)).collect()
    }

    fn choice(&self, hosts: &[&Rc<Host>], (priority, load, source): (u32, Load, Source)) -> Choice {
        let config = self.making.config;
        let members = |host: &Host| match (load.in_panic, source) {
            (true, _) => !config.panic.fails_traffic,
            // As Envoy, whose tables of hashes have no degraded hosts.
            (false, Source::Degraded) if !config.lb_policy.goes_by_hash() => {
                host.flags().health() == Health::Degraded
            }
            (false, _) => host.flags().health() == Health::Healthy,
        };
        let (hosts, spread) = self.spread(hosts, (priority, load.in_panic, source), &members);
        Choice {
            below: 0,
            priority,
            source,
            in_panic: load.in_panic,
            hosts,
            spread,
        }
    }

    /// All members, and how they are spread over localities.
    fn spread(
        &self,
        hosts: &[&Rc<Host>],
        (priority, in_panic, source): (u32, bool, Source),
        is_member: &dyn Fn(&Host) -> bool,
    ) -> (Group, Option<Box<Spread>>) {
        let members = hosts.iter().filter(|host| is_member(host));
        let members: Vec<Rc<Host>> = members.map(|host| Rc::clone(host)).collect();
        let config = self.making.config;
        if config.lb_policy.goes_by_hash() {
            return (self.hashed(hosts, members, is_member), None);
        }
        match config.load_balancing.locality {
            LocalityLb::Weighted if !in_panic => {
                let localities = Localities::new(self.endpoints, None, hosts);
                match self.weighted(&localities, is_member) {
                    Some(spread) => (Group::new(Vec::new(), self.making), Some(spread)),
                    None => (Group::new(members, self.making), None),
                }
            }
            LocalityLb::ZoneAware(settings) if !in_panic && priority == 0 => {
                let zones = self.local.and_then(|local| {
                    let localities = Localities::new(self.endpoints, Some(local.own), hosts);
                    let panic = config.panic;
                    let groups = || localities.groups(self.making, is_member);
                    Zones::new((settings, panic), local, &localities, groups)
                });
                let _ = source;
                let spread = zones.map(|zones| Box::new(Spread::Zones(zones)));
                (Group::new(members, self.making), spread)
            }
            _ => (Group::new(members, self.making), None),
        }
    }

    /// Localities by their weights; none if these come to nothing, so that they do not count.
    fn weighted(
        &self,
        localities: &Localities<'_>,
        is_member: &dyn Fn(&Host) -> bool,
    ) -> Option<Box<Spread>> {
        let factor = self.endpoints.policy.overprovisioning_factor;
        let weights = localities.effective_weights(self.scaled, factor, is_member)?;
        if weights.iter().all(|weight| *weight <= 0.0) {
            return None;
        }
        let random = self.making.random;
        let turns = Edf::new(weights.iter().copied(), || random.fraction());
        Some(Box::new(Spread::Weighted {
            turns: RefCell::new(turns),
            weights: weights.into(),
            groups: localities.groups(self.making, is_member),
        }))
    }

    /// Members that share all hashes by their weights and those of their localities.
    fn hashed(
        &self,
        hosts: &[&Rc<Host>],
        members: Vec<Rc<Host>>,
        is_member: &dyn Fn(&Host) -> bool,
    ) -> Group {
        if self.making.config.load_balancing.locality != LocalityLb::Weighted {
            return Group::new(members, self.making);
        }
        let localities = Localities::new(self.endpoints, None, hosts);
        match localities.shares(self.scaled, is_member) {
            None => Group::new(members, self.making),
            Some((members, shares)) => Group::hashed(members, &shares, self.making),
        }
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, flags: HealthFlags, weight: u64) {
        match flags.health() {
            Health::Healthy => self.healthy += weight,
            Health::Degraded => self.degraded += weight,
            Health::Unhealthy => {}
        }
        if !flags.is_excluded() {
            self.total += weight;
        }
    }
}
