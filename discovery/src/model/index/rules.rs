//! What rules attach to pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Index;
use crate::model::{Attachment, Changes, NamespacedName, Pod, RuleName};

impl Index {
    pub(super) fn apply_attachment(&mut self, attachment: Attachment) {
        self.touch_declared(&attachment.rule);
        let attachments = &mut self.current.attachments;
        let known = attachments.get(&attachment.rule);
        if known.map(|known| &**known) == Some(&attachment) {
            return;
        }
        let attachment = Arc::new(attachment);
        Arc::make_mut(attachments).insert(attachment.clone());
        self.touch_declared(&attachment.rule);
        let attachments = &mut self.current.attachments;
        if let Some((rule, ignored)) = attachments.routings().rival(&attachment) {
            tracing::warn!(
                %rule, %ignored,
                "two rules route requests of one service; the first counts, and the other does not \
                 where both would"
            );
        }
        let mut rivals = attachments.rivals(&attachment);
        let Some(first) = rivals.next() else { return };
        let news = |rule: &&RuleName| *first == attachment.rule || **rule == attachment.rule;
        for ignored in rivals.filter(news) {
            tracing::warn!(
                rule = %first, %ignored,
                "two rules say something of the same pods; the older one counts"
            );
        }
    }

    pub(super) fn remove_attachment(&mut self, rule: &RuleName) {
        self.touch_declared(rule);
        let attachments = &mut self.current.attachments;
        if attachments.get(rule).is_some() {
            Arc::make_mut(attachments).remove(rule);
        }
    }

    /// The pods of which rules say something else than at the last commit; none if no rule changed.
    /// Has the services behind which they stand resolved again where they are called in another way.
    /// Looks at every pod once a commit, and only where rules changed.
    pub(super) fn touch_services_of_rules(&mut self) -> Option<BTreeSet<NamespacedName>> {
        let (before, after) = (&self.committed.attachments, &self.current.attachments);
        if before.are_alike_for_pods(after) {
            return None;
        }
        let is_called_otherwise =
            |pod: &Pod| before.inbound_tls_of(pod) != after.inbound_tls_of(pod);
        let differs = |pod: &Pod| before.authorization_of(pod) != after.authorization_of(pod);
        let (mut touched, mut called_otherwise) = (BTreeSet::new(), Vec::new());
        for (name, pod) in self.current.pods_by_name.iter() {
            if is_called_otherwise(pod) {
                called_otherwise.push(name.clone());
            } else if differs(pod) {
                touched.insert(name.clone());
            }
        }
        for pod in called_otherwise {
            self.touch_services_of(&pod);
            touched.insert(pod);
        }
        Some(touched)
    }

    /// The services whose requests rules route otherwise than at the last commit.
    pub(super) fn services_routed_otherwise(&self) -> BTreeSet<NamespacedName> {
        let (before, after) = (&self.committed.attachments, &self.current.attachments);
        if Arc::ptr_eq(before, after) {
            return BTreeSet::new();
        }
        let hosts = after.routings().changed_since(before.routings());
        let services = hosts.iter().flat_map(|it| it.services(&self.current));
        services.collect()
    }

    /// The services that rules have callers connect to otherwise than at the last commit, each with the
    /// groups of endpoints there are or were.
    pub(super) fn services_shaped_otherwise(&self) -> BTreeMap<NamespacedName, BTreeSet<Arc<str>>> {
        let (before, after) = (&self.committed.attachments, &self.current.attachments);
        if Arc::ptr_eq(before, after) {
            return BTreeMap::new();
        }
        let (before, after) = (before.destinations(), after.destinations());
        let hosts = after.changed_since(before);
        let services = hosts.iter().flat_map(|host| host.services(&self.current));
        services
            .map(|name| {
                let mut subsets = before.subsets_of(&name);
                subsets.extend(after.subsets_of(&name));
                (name, subsets)
            })
            .collect()
    }

    /// A rule that sends requests to a service which came, went or has other ports says something else
    /// of those whose requests it routes.
    pub(super) fn note_lost_backends(&self, changes: &mut Changes) {
        let routings = self.current.attachments.routings();
        let redeclared = changes.services.iter();
        let redeclared = redeclared.filter(|(_, change)| change.declaration_changed());
        let redeclared = redeclared.map(|(name, _)| name);
        let shaped = changes.shaped.keys();
        let all: BTreeSet<_> = redeclared.chain(shaped).collect();
        // Rules name hosts without the namespace in which they are declared.
        let hosts = all.iter().filter(|name| name.is_host());
        let hosts: Vec<_> = hosts
            .map(|name| NamespacedName::new("", &name.name))
            .collect();
        let routed = all
            .into_iter()
            .chain(&hosts)
            .flat_map(|name| routings.routed_to(name));
        let routed: BTreeSet<_> = routed.collect();
        let services = routed.iter().flat_map(|it| it.services(&self.current));
        changes.routed.extend(services.collect::<Vec<_>>());
    }
}
