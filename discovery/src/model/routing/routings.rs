//! All rules about requests, by the services that they concern.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Referrer, Routing, Speech};
use crate::model::{Attachment, NamespacedName, RuleName, Service, ServiceKind, ServicePort};

/// A permission to refer to services of the namespace in which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// To objects of this kind.
    pub kind: Arc<str>,
    /// In this namespace.
    pub namespace: Arc<str>,
    /// Only to this service.
    pub to: Option<Arc<str>>,
}

/// All rules about requests, and all grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routings {
    rules: BTreeMap<RuleName, Arc<Attachment>>,
    /// Which rules route requests of a service.
    parents: BTreeMap<NamespacedName, BTreeSet<RuleName>>,
    /// Which rules send requests to a service.
    backends: BTreeMap<NamespacedName, BTreeSet<RuleName>>,
    /// By namespace.
    grants: BTreeMap<Arc<str>, BTreeMap<RuleName, Arc<Attachment>>>,
}

// === impl Routings ===

impl Routings {
    pub(in crate::model) fn get(&self, rule: &RuleName) -> Option<&Arc<Attachment>> {
        let grants = self.grants.get(&rule.name.namespace);
        self.rules.get(rule).or_else(|| grants?.get(rule))
    }

    pub(in crate::model) fn insert(&mut self, attachment: Arc<Attachment>) {
        let rule = attachment.rule.clone();
        let Some(routing) = attachment.effect.routing() else {
            let grants = self.grants.entry(rule.name.namespace.clone()).or_default();
            grants.insert(rule, attachment);
            return;
        };
        for parent in &routing.parents {
            let rules = self.parents.entry(parent.service.clone()).or_default();
            rules.insert(rule.clone());
        }
        for service in services(routing) {
            let rules = self.backends.entry(service.clone()).or_default();
            rules.insert(rule.clone());
        }
        self.rules.insert(rule, attachment);
    }

    pub(in crate::model) fn remove(&mut self, rule: &RuleName) {
        if let Some(grants) = self.grants.get_mut(&rule.name.namespace) {
            grants.remove(rule);
            if grants.is_empty() {
                self.grants.remove(&rule.name.namespace);
            }
        }
        let Some(old) = self.rules.remove(rule) else {
            return;
        };
        let Some(routing) = old.effect.routing() else {
            return;
        };
        for parent in &routing.parents {
            take_out(&mut self.parents, &parent.service, rule);
        }
        for service in services(routing) {
            take_out(&mut self.backends, service, rule);
        }
    }

    /// The rules in force at a port of a service for clients of a namespace, the oldest first; none: it
    /// is as if nobody had said anything. Rules of the client's own namespace come before those of the
    /// service's, and where there are any those do not count.
    #[must_use]
    pub fn at(
        &self,
        service: &Service,
        port: &ServicePort,
        client: Option<&str>,
    ) -> Vec<&Arc<Attachment>> {
        // Who calls such a service calls its pods.
        if service.kind != ServiceKind::ClusterIp {
            return Vec::new();
        }
        let of_client = client.filter(|namespace| *namespace != &*service.name.namespace);
        let of_client = of_client.map(|namespace| self.of(service, port, namespace));
        let of_client = of_client.filter(|rules| !rules.is_empty());
        of_client.unwrap_or_else(|| self.of(service, port, &service.name.namespace))
    }

    /// Whether clients of a namespace have rules of their own at a port of a service.
    #[must_use]
    pub fn has_own(&self, service: &Service, port: &ServicePort, client: &str) -> bool {
        let is_elsewhere = client != &*service.name.namespace;
        is_elsewhere
            && service.kind == ServiceKind::ClusterIp
            && !self.of(service, port, client).is_empty()
    }

    /// The rules of one namespace.
    fn of(&self, service: &Service, port: &ServicePort, namespace: &str) -> Vec<&Arc<Attachment>> {
        let names = self.parents.get(&service.name).into_iter().flatten();
        let names = names.filter(|rule| *rule.name.namespace == *namespace);
        let rules = names.filter_map(|rule| self.rules.get(rule));
        let mut rules: Vec<_> = rules
            .filter(|it| {
                let routing = it.effect.routing();
                routing.is_some_and(|it| !it.rules.is_empty() && it.is_about(service, port))
            })
            .collect();
        let speech = |it: &Attachment| it.effect.routing().map(|it| it.speech);
        if rules.iter().any(|it| speech(it) == Some(Speech::Grpc)) {
            rules.retain(|it| speech(it) == Some(Speech::Grpc));
        }
        rules.sort_by_key(|it| (it.created.unwrap_or(i64::MAX), it.rule.clone()));
        rules
    }

    /// Whether anything lets an object refer to a service of another namespace.
    pub(super) fn grants(&self, referrer: &Referrer<'_>, service: &NamespacedName) -> bool {
        let all = self.grants.get(&service.namespace);
        let all = all.into_iter().flat_map(BTreeMap::values);
        let mut all = all.flat_map(|it| it.effect.grants());
        all.any(|grant| {
            *grant.kind == *referrer.kind
                && *grant.namespace == *referrer.namespace
                && grant.to.as_ref().is_none_or(|name| *name == service.name)
        })
    }

    /// The services whose requests rules route otherwise than before.
    pub(in crate::model) fn changed_since(&self, before: &Self) -> BTreeSet<NamespacedName> {
        let mut services = BTreeSet::new();
        let (one, other) = (&before.rules, &self.rules);
        for (rule, attachment) in one.iter().chain(other) {
            if one.get(rule) != other.get(rule) {
                services.extend(parents(attachment));
            }
        }
        let namespaces = before.grants.keys().chain(self.grants.keys());
        let namespaces = namespaces.filter(|it| before.grants.get(*it) != self.grants.get(*it));
        for namespace in namespaces {
            let is_there = |name: &&NamespacedName| name.namespace == *namespace;
            let backends = self.backends.keys().filter(is_there);
            services.extend(backends.flat_map(|name| self.routed_to(name)));
        }
        services
    }

    /// The services some of whose requests rules send to that one.
    pub(in crate::model) fn routed_to(
        &self,
        service: &NamespacedName,
    ) -> impl Iterator<Item = NamespacedName> {
        let rules = self.backends.get(service).into_iter().flatten();
        let rules = rules.filter_map(|rule| self.rules.get(rule));
        rules.flat_map(|it| parents(it))
    }
}

fn parents(attachment: &Attachment) -> impl Iterator<Item = NamespacedName> {
    let parents = attachment.effect.routing().into_iter();
    parents.flat_map(|it| it.parents.iter().map(|parent| parent.service.clone()))
}

fn services(routing: &Routing) -> impl Iterator<Item = &NamespacedName> {
    routing.services()
}

fn take_out(
    from: &mut BTreeMap<NamespacedName, BTreeSet<RuleName>>,
    service: &NamespacedName,
    rule: &RuleName,
) {
    if let Some(rules) = from.get_mut(service) {
        rules.remove(rule);
        if rules.is_empty() {
            from.remove(service);
        }
    }
}
