//! All rules about requests, by the services that they concern.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Referrer, Routing, RoutingRule, RuleAction, SourceMatch, Speech, delegate};
use crate::model::{
    Attachment, HostScope, NamespacedName, RuleName, Service, ServiceKind, ServicePort,
};

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
    /// Which rules of Istio's grammar route requests of the services of a host.
    hosts: BTreeMap<HostScope, BTreeSet<RuleName>>,
    /// Which rules have an object say what becomes of some of their requests.
    delegating: BTreeMap<RuleName, BTreeSet<RuleName>>,
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
        for host in &routing.hosts {
            let rules = self.hosts.entry(host.clone()).or_default();
            rules.insert(rule.clone());
        }
        for delegate in routing.delegates() {
            let delegate = delegated(&rule, delegate);
            self.delegating
                .entry(delegate)
                .or_default()
                .insert(rule.clone());
        }
        for service in routing.services() {
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
        for host in &routing.hosts {
            take_out(&mut self.hosts, host, rule);
        }
        for delegate in routing.delegates() {
            take_out(&mut self.delegating, &delegated(rule, delegate), rule);
        }
        for service in routing.services() {
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
        let of_gateway =
            of_client.unwrap_or_else(|| self.of(service, port, &service.name.namespace));
        if !of_gateway.is_empty() {
            return of_gateway;
        }
        let of_istio = self.of_istio(&service.name, client).into_iter();
        let has_rules =
            |it: &&Arc<Attachment>| it.effect.routing().is_some_and(|it| !it.rules.is_empty());
        of_istio.filter(has_rules).collect()
    }

    /// Every rule about requests.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Attachment>> {
        self.rules.values()
    }

    /// What becomes of connections to a service that are not looked into.
    #[must_use]
    pub fn streams(&self, service: &Service, client: Option<&str>) -> Option<&Arc<Attachment>> {
        if service.kind != ServiceKind::ClusterIp {
            return None;
        }
        let found = self.of_istio(&service.name, client)?;
        let has_streams = found
            .effect
            .routing()
            .is_some_and(|it| !it.streams.is_empty());
        has_streams.then_some(found)
    }

    /// The one rule of Istio's grammar that counts for a service: of those for clients of a namespace the
    /// one of the narrowest host, then the oldest.
    fn of_istio(&self, service: &NamespacedName, client: Option<&str>) -> Option<&Arc<Attachment>> {
        if self.hosts.is_empty() {
            return None;
        }
        let scopes = HostScope::around(service);
        scopes.iter().find_map(|scope| {
            let rules = self.hosts.get(scope).into_iter().flatten();
            let rules = rules.filter_map(|rule| self.rules.get(rule));
            let for_client = rules.filter(|it| {
                let routing = it.effect.routing();
                routing.is_some_and(|it| it.exports.reach(client))
            });
            for_client.min_by_key(|it| (it.created.unwrap_or(i64::MAX), &it.rule))
        })
    }

    /// The rules of an object, where others say what becomes of some of its requests.
    #[must_use]
    pub fn rules_of<'a>(&'a self, attachment: &'a Attachment) -> Vec<Cow<'a, RoutingRule>> {
        let routing = attachment.effect.routing();
        let rules = routing.into_iter().flat_map(|it| &it.rules);
        let rules = rules.flat_map(|rule| {
            let RuleAction::Delegate { to, .. } = &rule.action else {
                return vec![Cow::Borrowed(rule)];
            };
            let delegate = self.rules.get(&delegated(&attachment.rule, to));
            // One that has hosts stands for itself.
            let delegate = delegate.and_then(|it| it.effect.routing());
            let delegate = delegate.filter(|it| {
                it.hosts.is_empty() && it.exports.reach(Some(&attachment.rule.name.namespace))
            });
            let rules = delegate.map_or(&[][..], |it| &it.rules);
            delegate::merged(rule, rules)
                .into_iter()
                .map(Cow::Owned)
                .collect()
        });
        rules.collect()
    }

    /// Labels of callers that rules of a host ask for, and those to which they delegate.
    pub(in crate::model) fn asked_at(&self, scope: &HostScope) -> BTreeSet<&Arc<str>> {
        let rules = self.hosts.get(scope).into_iter().flatten();
        let routings = rules.filter_map(|rule| self.rules.get(rule));
        let all = routings.flat_map(|it| std::iter::once(it).chain(self.delegates_of(it)));
        let routings = all.filter_map(|it| it.effect.routing());
        let sources = routings.flat_map(Routing::sources);
        sources.flat_map(|it| it.labels.keys()).collect()
    }

    /// The hosts of rules that ask who sends.
    pub(in crate::model) fn selecting(&self) -> BTreeSet<&HostScope> {
        let all = self.rules.values();
        let asking = all.filter(|it| self.asks(it));
        let routings = asking.filter_map(|it| it.effect.routing());
        routings.flat_map(|it| &it.hosts).collect()
    }

    /// Whether it matters to an object, or to those to which it delegates, who sends.
    #[must_use]
    pub fn asks(&self, attachment: &Attachment) -> bool {
        let all = std::iter::once(attachment).chain(self.delegates_of(attachment).map(|it| &**it));
        let mut routings = all.filter_map(|it| it.effect.routing());
        routings.any(|it| it.sources().any(SourceMatch::asks))
    }

    fn delegates_of<'a>(
        &'a self,
        attachment: &'a Attachment,
    ) -> impl Iterator<Item = &'a Arc<Attachment>> {
        let routing = attachment.effect.routing().into_iter();
        let names = routing.flat_map(Routing::delegates);
        names.filter_map(|name| self.rules.get(&delegated(&attachment.rule, name)))
    }

    /// Another object about one of the same services, of which one does not count because of the other:
    /// first the one that does.
    pub(in crate::model) fn rival<'a>(
        &'a self,
        attachment: &'a Attachment,
    ) -> Option<(&'a RuleName, &'a RuleName)> {
        let routing = attachment.effect.routing()?;
        let own = &attachment.rule;
        for parent in &routing.parents {
            let scopes = HostScope::around(&parent.service);
            let mut rules = scopes.iter().filter_map(|it| self.hosts.get(it)).flatten();
            if let Some(other) = rules.next() {
                return Some((own, other));
            }
        }
        let named = routing.hosts.iter().filter_map(|host| match host {
            HostScope::Service(name) => self.parents.get(name),
            _ => None,
        });
        if let Some(other) = named.flatten().next() {
            return Some((other, own));
        }
        let others = routing.hosts.iter().filter_map(|host| self.hosts.get(host));
        let other = others.flatten().find(|rule| *rule != own)?;
        let age = |rule: &RuleName| {
            let created = self.rules.get(rule).and_then(|it| it.created);
            (created.unwrap_or(i64::MAX), rule.clone())
        };
        Some(match age(other) < age(own) {
            true => (other, own),
            false => (own, other),
        })
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
    pub(in crate::model) fn changed_since(&self, before: &Self) -> BTreeSet<HostScope> {
        let mut services = BTreeSet::new();
        let (one, other) = (&before.rules, &self.rules);
        for (rule, attachment) in one.iter().chain(other) {
            if one.get(rule) != other.get(rule) {
                services.extend(before.about(attachment));
                services.extend(self.about(attachment));
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
    ) -> impl Iterator<Item = HostScope> {
        let rules = self.backends.get(service).into_iter().flatten();
        let rules = rules.filter_map(|rule| self.rules.get(rule));
        rules.flat_map(|it| self.about(it))
    }

    /// The hosts whose requests depend on an object: its own, and those of who delegates to it.
    fn about(&self, attachment: &Attachment) -> BTreeSet<HostScope> {
        let delegating = self.delegating.get(&attachment.rule).into_iter().flatten();
        let delegating = delegating.filter_map(|rule| self.rules.get(rule));
        let delegating = delegating.filter_map(|it| it.effect.routing());
        let own = attachment.effect.routing().into_iter();
        own.chain(delegating).flat_map(Routing::about).collect()
    }
}

/// The object to which one of the same kind delegates.
fn delegated(rule: &RuleName, to: &NamespacedName) -> RuleName {
    RuleName {
        kind: rule.kind,
        name: to.clone(),
    }
}

fn take_out<K: Ord>(from: &mut BTreeMap<K, BTreeSet<RuleName>>, service: &K, rule: &RuleName) {
    if let Some(rules) = from.get_mut(service) {
        rules.remove(rule);
        if rules.is_empty() {
            from.remove(service);
        }
    }
}
