//! All services that rules declare, and all workloads that do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Attachment, EntryEndpoint, NamespacedName, RuleName, ServiceEntry};

/// All services that rules declare, and all workloads that are no pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    rules: BTreeMap<RuleName, Arc<Attachment>>,
    /// The rules that declare a host in a namespace, the oldest first.
    by_host: BTreeMap<NamespacedName, BTreeSet<(i64, RuleName)>>,
    /// The rules of a namespace that select who stands behind.
    selecting: BTreeMap<Arc<str>, BTreeSet<RuleName>>,
    /// The rules of a namespace that are workloads.
    workloads: BTreeMap<Arc<str>, BTreeSet<RuleName>>,
}

// === impl Entries ===

impl Entries {
    pub(super) fn get(&self, rule: &RuleName) -> Option<&Arc<Attachment>> {
        self.rules.get(rule)
    }

    pub(super) fn insert(&mut self, attachment: Arc<Attachment>) {
        let rule = attachment.rule.clone();
        let namespace = || rule.name.namespace.clone();
        if let Some(entry) = attachment.effect.entry() {
            for host in &entry.hosts {
                let of_host = self.by_host.entry(rule.name.named_like(host)).or_default();
                of_host.insert(age(&attachment));
            }
            if entry.selector.is_some() {
                let selecting = self.selecting.entry(namespace()).or_default();
                selecting.insert(rule.clone());
            }
        } else if attachment.effect.workload().is_some() {
            let workloads = self.workloads.entry(namespace()).or_default();
            workloads.insert(rule.clone());
        }
        self.rules.insert(rule, attachment);
    }

    pub(super) fn remove(&mut self, rule: &RuleName) {
        let Some(old) = self.rules.remove(rule) else {
            return;
        };
        let hosts = old.effect.entry().into_iter().flat_map(|it| &it.hosts);
        for host in hosts {
            take_out(&mut self.by_host, &rule.name.named_like(host), &age(&old));
        }
        take_out(&mut self.selecting, &rule.name.namespace, rule);
        take_out(&mut self.workloads, &rule.name.namespace, rule);
    }

    /// The rule that declares a host in a namespace: of several the oldest.
    pub(super) fn of(&self, name: &NamespacedName) -> Option<&Arc<Attachment>> {
        let (_, rule) = self.by_host.get(name)?.first()?;
        self.rules.get(rule)
    }

    /// The rules of a namespace that declare a host which an older one declares as well: each with the
    /// older.
    pub fn shadowed(&self) -> impl Iterator<Item = (&NamespacedName, &RuleName, &RuleName)> {
        self.by_host.iter().flat_map(|(host, rules)| {
            let first = rules.first().map(|(_, first)| first);
            let others = rules.iter().skip(1);
            others.filter_map(move |(_, other)| Some((host, first?, other)))
        })
    }

    /// What of a namespace selects who stands behind.
    pub(super) fn selecting(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = (&RuleName, &Arc<ServiceEntry>)> {
        let rules = self.selecting.get(namespace).into_iter().flatten();
        let rules = rules.filter_map(|rule| self.rules.get(rule));
        rules.filter_map(|it| Some((&it.rule, it.effect.entry()?)))
    }

    /// The workloads of a namespace.
    pub(super) fn workloads(&self, namespace: &str) -> impl Iterator<Item = &EntryEndpoint> {
        let rules = self.workloads.get(namespace).into_iter().flatten();
        let rules = rules.filter_map(|rule| self.rules.get(rule));
        rules.filter_map(|it| it.effect.workload())
    }
}

fn age(attachment: &Attachment) -> (i64, RuleName) {
    let created = attachment.created.unwrap_or(i64::MAX);
    (created, attachment.rule.clone())
}

fn take_out<K: Ord, V: Ord>(from: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = from.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            from.remove(key);
        }
    }
}
