//! All rules about the other end of calls, and which of them are in force for whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Destination, Subset, TrafficPolicy};
use crate::model::{Attachment, Caller, HostScope, NamespacedName, RuleName};

/// All rules about the other end of calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DestinationRules {
    rules: BTreeMap<RuleName, Arc<Attachment>>,
    by_host: BTreeMap<HostScope, BTreeSet<RuleName>>,
}

/// Where rules are looked for.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    /// In a namespace; the root is none of these.
    Namespace(&'a str),
    /// In the namespace whose rules are about the whole mesh.
    Root,
}

/// The rules in force for a caller of a service: where several are one, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce<'a>(Vec<(&'a RuleName, &'a Destination)>);

// === impl DestinationRules ===

impl DestinationRules {
    pub(in crate::model) fn get(&self, rule: &RuleName) -> Option<&Arc<Attachment>> {
        self.rules.get(rule)
    }

    /// Every rule.
    pub(in crate::model) fn all(&self) -> impl Iterator<Item = &Arc<Attachment>> {
        self.rules.values()
    }

    pub(in crate::model) fn insert(&mut self, attachment: Arc<Attachment>) {
        let rule = attachment.rule.clone();
        if let Some(said) = attachment.effect.destination() {
            let of_host = self.by_host.entry(said.host.clone()).or_default();
            of_host.insert(rule.clone());
        }
        self.rules.insert(rule, attachment);
    }

    pub(in crate::model) fn remove(&mut self, rule: &RuleName) {
        let old = self.rules.remove(rule);
        let Some(said) = old.as_ref().and_then(|it| it.effect.destination()) else {
            return;
        };
        if let Some(of_host) = self.by_host.get_mut(&said.host) {
            of_host.remove(rule);
            if of_host.is_empty() {
                self.by_host.remove(&said.host);
            }
        }
    }

    /// The rules in force for a caller of a service; none in particular sees what everybody sees.
    ///
    /// Those of the caller's namespace come before those of the service's, and these before those of
    /// the root. Of one namespace the narrowest host counts, and of that the rules that select the
    /// caller; else those that select nobody, which are one rule together.
    #[must_use]
    pub fn at(&self, service: &NamespacedName, caller: Option<&Caller>) -> InForce<'_> {
        if self.rules.is_empty() {
            return InForce::default();
        }
        let scopes = HostScope::around(service);
        let own = caller.map(|it| Place::Namespace(&it.namespace));
        let places = [
            own,
            Some(Place::Namespace(&service.namespace)),
            Some(Place::Root),
        ];
        let mut all = places
            .into_iter()
            .flatten()
            .flat_map(|place| scopes.iter().map(move |scope| (place, scope)));
        let found = all.find_map(|(place, scope)| {
            let found = self.of(scope, place, caller);
            (!found.0.is_empty()).then_some(found)
        });
        found.unwrap_or_default()
    }

    fn of(&self, scope: &HostScope, place: Place<'_>, caller: Option<&Caller>) -> InForce<'_> {
        let names = self.by_host.get(scope).into_iter().flatten();
        let rules = names.filter_map(|rule| self.rules.get(rule));
        let mut there: Vec<_> = rules
            .filter_map(|it| Some((it, it.effect.destination()?)))
            .filter(|(it, said)| place.holds(&it.rule, said))
            .filter(|(_, said)| said.exports.reach(caller.map(|it| &*it.namespace)))
            .collect();
        there.sort_by_key(|(it, _)| (it.created.unwrap_or(i64::MAX), it.rule.clone()));
        let one = there
            .iter()
            .find(|(it, said)| match (&said.selector, caller) {
                (Some(labels), Some(caller)) => {
                    it.rule.name.namespace == caller.namespace && caller.has(labels)
                }
                _ => false,
            });
        let found = match one {
            Some(one) => vec![*one],
            None => {
                there.retain(|(_, said)| said.selector.is_none());
                there
            }
        };
        InForce(
            found
                .into_iter()
                .map(|(it, said)| (&it.rule, said))
                .collect(),
        )
    }

    /// The names of all subsets of a service that some rule has.
    #[must_use]
    pub fn subsets_of(&self, service: &NamespacedName) -> BTreeSet<Arc<str>> {
        let scopes = HostScope::around(service);
        let rules = scopes.iter().filter_map(|it| self.by_host.get(it));
        let rules = rules.flatten().filter_map(|rule| self.rules.get(rule));
        let said = rules.filter_map(|it| it.effect.destination());
        said.flat_map(|it| it.subsets.keys().cloned()).collect()
    }

    /// Labels of callers that rules of a host ask for.
    pub(in crate::model) fn asked_at(&self, scope: &HostScope) -> impl Iterator<Item = &Arc<str>> {
        let rules = self.by_host.get(scope).into_iter().flatten();
        let rules = rules.filter_map(|rule| self.rules.get(rule));
        let said = rules.filter_map(|it| it.effect.destination());
        said.flat_map(|it| it.selector.iter().flat_map(BTreeMap::keys))
    }

    /// The hosts of rules that ask for labels of callers.
    pub(in crate::model) fn selecting(&self) -> BTreeSet<&HostScope> {
        let said = self.rules.values().filter_map(|it| it.effect.destination());
        let said = said.filter(|it| it.selector.is_some());
        said.map(|it| &it.host).collect()
    }

    /// The hosts of which rules say something else than before.
    pub(in crate::model) fn changed_since(&self, before: &Self) -> BTreeSet<HostScope> {
        let (one, other) = (&before.rules, &self.rules);
        let all = one.iter().chain(other);
        let changed = all.filter(|(rule, _)| one.get(*rule) != other.get(*rule));
        let said = changed.filter_map(|(_, it)| it.effect.destination());
        said.map(|it| it.host.clone()).collect()
    }
}

// === impl Place ===

impl Place<'_> {
    fn holds(self, rule: &RuleName, said: &Destination) -> bool {
        match self {
            Self::Namespace(namespace) => !said.is_of_root && *rule.name.namespace == *namespace,
            Self::Root => said.is_of_root,
        }
    }
}

// === impl InForce ===

impl InForce<'_> {
    /// The names of the rules.
    pub fn rules(&self) -> impl Iterator<Item = &RuleName> {
        self.0.iter().map(|(rule, _)| *rule)
    }

    /// A group of endpoints: of several of one name the oldest rule's.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.0.iter().find_map(|(_, said)| said.subsets.get(name))
    }

    /// The names of all groups.
    pub fn subsets(&self) -> BTreeSet<&Arc<str>> {
        self.0
            .iter()
            .flat_map(|(_, said)| said.subsets.keys())
            .collect()
    }

    /// How a port is called, of a group of endpoints or of all.
    #[must_use]
    pub fn policy(&self, port: u16, subset: Option<&Subset>) -> TrafficPolicy {
        let mut policies = self.0.iter().map(|(_, said)| &said.policies);
        let of_all = policies.find(|it| !it.is_empty());
        let of_all = of_all.map(|it| it.within(TrafficPolicy::default(), port));
        let of_all = of_all.unwrap_or_default();
        match subset {
            Some(subset) => subset.policies.within(of_all, port),
            None => of_all,
        }
    }
}
