//! Subsets: hosts by their metadata, found by what a route wants of them.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets>

mod tree;

use std::rc::Rc;

use super::{
    super::{
        Host,
        balancer::{Pick, Picked},
    },
    Choice, Grouping, Scaled,
};
use crate::{
    config::subset::{
        Criterion, FALLBACK_LIST, Fallback, MetadataMatch, SelectorFallback, Subsets,
    },
    stat_set,
};

use tree::{Entry, Node};

stat_set! {
    /// `cluster.<name>.lb_subsets_*`, with Envoy's names, of clusters with subsets.
    pub(in super::super) struct SubsetStats {
        /// Subsets now.
        lb_subsets_active: Gauge,
        /// Subsets that came to be.
        lb_subsets_created: Counter,
        /// Subsets that lost their last host.
        lb_subsets_removed: Counter,
        /// Picks from the subset that a route asks for.
        lb_subsets_selected: Counter,
        /// Picks by the fallback policy, since no subset is what a route asks for.
        lb_subsets_fallback: Counter,
        /// Picks among all hosts, since the fallback policy has none.
        lb_subsets_fallback_panic: Counter,
        /// Hosts left out since the subset of their key has one already.
        lb_subsets_single_host_per_subset_duplicate: Gauge,
    }
}

/// The subsets of a cluster.
pub(super) struct SubsetTree {
    settings: Subsets,
    root: Node,
    /// The fallback of selectors, by their keys.
    fallbacks: Vec<(Vec<String>, Option<SelectorFallback>)>,
    any: Option<Vec<Choice>>,
    default: Option<Vec<Choice>>,
    /// Hosts that subsets of one host left out.
    duplicates: i64,
}

/// Criteria, or some of them.
#[derive(Clone, Copy)]
struct View<'v> {
    criteria: &'v [Criterion],
    /// Those with these names; none: all.
    only: Option<&'v [String]>,
    /// But for [`FALLBACK_LIST`].
    without_list: bool,
}

/// What came of a look at the subsets.
enum Found {
    /// No subset is what was asked for.
    Nothing,
    /// One is, whether it has a host that can be picked or not.
    Subset(Option<Picked>),
}

// === impl SubsetTree ===

impl SubsetTree {
    pub(super) fn new(settings: &Subsets, all: &[Rc<Host>], grouping: Grouping<'_>) -> Self {
        let scaled = match (
            settings.locality_weight_aware,
            settings.scale_locality_weight,
        ) {
            (false, _) => Scaled::Ignored,
            (true, false) => Scaled::No,
            (true, true) => Scaled::By(all),
        };
        let grouping = Grouping { scaled, ..grouping };
        let of_selectors = settings.selectors.iter().map(|it| it.fallback.as_ref());
        let wants = |wanted: Fallback| {
            let mut of_selectors = of_selectors.clone();
            settings.fallback == wanted
                || of_selectors.any(|it| *it.unwrap_or(&NOTHING) == SelectorFallback::Of(wanted))
        };
        let any = settings.panic_mode_any || wants(Fallback::Any);
        let default = wants(Fallback::Default).then(|| {
            let fits = |host: &&Rc<Host>| {
                host.has_metadata(&settings.default_subset, settings.list_as_any)
            };
            let hosts: Vec<Rc<Host>> = all.iter().filter(fits).cloned().collect();
            grouping.choices(&hosts)
        });
        let (root, duplicates) = Node::of(settings, all, grouping);
        Self {
            settings: settings.clone(),
            root,
            fallbacks: fallbacks(settings),
            any: any.then(|| grouping.choices(all)),
            default,
            duplicates,
        }
    }

    /// Counts what subsets there are now and were `before`.
    pub(super) fn count(&self, before: Option<&Self>, stats: &SubsetStats) {
        let mut known = before.map(|before| before.root.paths()).unwrap_or_default();
        let now = self.root.paths();
        let created = now.iter().filter(|path| !known.remove(*path)).count();
        stats.lb_subsets_created.add(created as u64);
        stats.lb_subsets_removed.add(known.len() as u64);
        stats.lb_subsets_active.set(now.len() as i64);
        let duplicates = &stats.lb_subsets_single_host_per_subset_duplicate;
        duplicates.set(self.duplicates);
    }

    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<Picked> {
        let Some(wanted) = pick.context.metadata_match else {
            return self.fall_back(pick);
        };
        let criteria = wanted.criteria();
        let list = criteria.iter().find(|one| &*one.name == FALLBACK_LIST);
        let Some(list) = list.filter(|_| self.settings.metadata_fallback) else {
            return self.pick_by(View::of(criteria), pick);
        };
        let view = View {
            without_list: true,
            ..View::of(criteria)
        };
        let others = list.value.as_array().map(Vec::as_slice).unwrap_or_default();
        if others.is_empty() {
            return self.pick_by(view, pick);
        }
        let base = wanted.only(|name| name != FALLBACK_LIST);
        others.iter().find_map(|other| {
            let merged: MetadataMatch = match other.as_object() {
                Some(values) => base.merged(values),
                None => base.clone(),
            };
            self.pick_by(View::of(merged.criteria()), pick)
        })
    }

    /// Follows Envoy's `chooseHostIteration`.
    fn pick_by(&self, view: View<'_>, pick: &Pick<'_>) -> Option<Picked> {
        let mut view = view;
        // Each round has fewer keys than the one before.
        loop {
            let selectors = self.settings.selectors.iter();
            let fits = |keys: &&Vec<String>| view.has_all(keys);
            let keys = selectors.map(|selector| &selector.keys).find(fits);
            if let Some(keys) = keys.filter(|_| self.settings.allow_redundant_keys) {
                view.only = Some(keys);
            }
            if let Found::Subset(picked) = self.look_up(view, pick) {
                return picked;
            }
            let of_selector = self.fallbacks.iter().find(|(keys, _)| view.is_of(keys));
            match of_selector.and_then(|(_, fallback)| fallback.as_ref()) {
                None => return self.fall_back(pick),
                Some(SelectorFallback::Of(fallback)) => {
                    return pick.among(self.choices_of(*fallback)?, |_| None);
                }
                Some(SelectorFallback::Keys(keys)) => view.only = Some(keys),
            }
        }
    }

    fn look_up(&self, view: View<'_>, pick: &Pick<'_>) -> Found {
        match self.root.find(view.criteria()) {
            None | Some(Entry::None) => Found::Nothing,
            Some(entry) => {
                if let Some(stats) = pick.subsets {
                    stats.lb_subsets_selected.inc();
                }
                Found::Subset(match entry {
                    Entry::None => None,
                    Entry::Single(host) => Some((Rc::clone(host), host.priority)),
                    Entry::Many(choices) => pick.among(choices, |_| None),
                })
            }
        }
    }

    fn choices_of(&self, fallback: Fallback) -> Option<&Vec<Choice>> {
        match fallback {
            Fallback::None => None,
            Fallback::Any => self.any.as_ref(),
            Fallback::Default => self.default.as_ref(),
        }
    }

    fn fall_back(&self, pick: &Pick<'_>) -> Option<Picked> {
        let choices = self.choices_of(self.settings.fallback)?;
        if let Some(picked) = pick.among(choices, |_| None) {
            if let Some(stats) = pick.subsets {
                stats.lb_subsets_fallback.inc();
            }
            return Some(picked);
        }
        let any = self.any.as_ref().filter(|_| self.settings.panic_mode_any)?;
        let picked = pick.among(any, |_| None)?;
        if let Some(stats) = pick.subsets {
            stats.lb_subsets_fallback_panic.inc();
        }
        Some(picked)
    }
}

/// What a selector without a fallback of its own says.
const NOTHING: SelectorFallback = SelectorFallback::Of(Fallback::None);

/// As Envoy, for which a selector whose keys another one before it begins with has no fallback.
fn fallbacks(settings: &Subsets) -> Vec<(Vec<String>, Option<SelectorFallback>)> {
    let mut known: Vec<(Vec<String>, Option<SelectorFallback>)> = Vec::new();
    for selector in &settings.selectors {
        let is_known = known
            .iter()
            .any(|(keys, _)| keys.starts_with(&selector.keys));
        if !is_known {
            known.push((selector.keys.clone(), selector.fallback.clone()));
        }
    }
    known
}

// === impl View ===

impl<'v> View<'v> {
    fn of(criteria: &'v [Criterion]) -> Self {
        Self {
            criteria,
            only: None,
            without_list: false,
        }
    }

    fn criteria(self) -> impl Iterator<Item = &'v Criterion> + Clone {
        self.criteria.iter().filter(move |one| {
            let is_list = self.without_list && &*one.name == FALLBACK_LIST;
            let mut only = self.only.into_iter().flatten();
            !is_list && (self.only.is_none() || only.any(|name| **name == *one.name))
        })
    }

    fn has_all(self, keys: &[String]) -> bool {
        let has = |key: &String| self.criteria().any(|one| *one.name == **key);
        keys.iter().all(has)
    }

    /// Whether its names are these, in the same order.
    fn is_of(self, keys: &[String]) -> bool {
        let names = self.criteria().map(|one| &*one.name);
        names.eq(keys.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests;
