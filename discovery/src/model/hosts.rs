//! Hosts that are declared, and what a connection to an address that no service has may be for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use super::{NamespacedName, ResolvedService, ServicePort, Snapshot};

/// The services that are declared, by host: those of several namespaces may have one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hosts(BTreeMap<Arc<str>, BTreeSet<NamespacedName>>);

// === impl Hosts ===

impl Hosts {
    /// Notes whether a service of a host is there.
    pub(super) fn note(&mut self, name: &NamespacedName, is_there: bool) {
        if is_there {
            let names = self.0.entry(name.name.clone()).or_default();
            names.insert(name.clone());
        } else if let Some(names) = self.0.get_mut(&name.name) {
            names.remove(name);
            if names.is_empty() {
                self.0.remove(&name.name);
            }
        }
    }

    /// The services of a host, whoever knows them.
    pub(super) fn named(&self, host: &str) -> impl Iterator<Item = &NamespacedName> {
        self.0.get(host).into_iter().flatten()
    }

    /// The services of all hosts, whoever knows them.
    pub(super) fn all(&self) -> impl Iterator<Item = &NamespacedName> {
        self.0.values().flatten()
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The service of a host as callers of a namespace know it: of several that of their own namespace,
    /// else the oldest.
    #[must_use]
    pub fn host(&self, host: &str, namespace: Option<&str>) -> Option<&Arc<ResolvedService>> {
        let all = self.hosts.named(host).filter_map(|it| self.service(it));
        let known = all.filter(|it| it.service.is_known_in(namespace));
        known.min_by_key(|it| {
            let service = &it.service;
            let is_own = namespace == Some(&*service.name.namespace);
            (
                !is_own,
                service.created.unwrap_or(i64::MAX),
                &service.name.namespace,
            )
        })
    }

    /// The service of a name: of a host, if there is no namespace in the name, as callers of a namespace
    /// know it.
    #[must_use]
    pub fn named(
        &self,
        name: &NamespacedName,
        namespace: Option<&str>,
    ) -> Option<&Arc<ResolvedService>> {
        match name.namespace.is_empty() {
            true => self.host(&name.name, namespace),
            false => self.service(name),
        }
    }

    /// Every service of a host, whoever knows it.
    pub fn hosts_named(&self, host: &str) -> impl Iterator<Item = &NamespacedName> {
        self.hosts.named(host)
    }

    /// Every service that is declared, whoever knows it.
    pub fn declared(&self) -> impl Iterator<Item = &Arc<ResolvedService>> {
        self.hosts.all().filter_map(|it| self.service(it))
    }

    /// The hosts that callers of a namespace may mean by a connection to a port of an address that is
    /// nobody's, in the order of their names: those without an address of their own.
    #[must_use]
    pub fn by_name(
        &self,
        port: u16,
        namespace: Option<&str>,
    ) -> Vec<(&ResolvedService, &ServicePort)> {
        let hosts = self.hosts.0.keys();
        let known = hosts.filter_map(|host| self.host(host, namespace));
        let known = known.filter(|it| {
            let entry = it.service.entry.as_ref();
            entry.is_some_and(|entry| entry.is_known_by_name(&it.service.name.name))
        });
        known
            .filter_map(|it| Some((&**it, it.port(port)?.0)))
            .filter(|(_, port)| port.can_name_hosts())
            .collect()
    }

    /// The service that has the network in which an address lies, as callers of a namespace know it: the
    /// smallest network, then the oldest.
    pub(super) fn in_network(
        &self,
        destination: SocketAddr,
        namespace: Option<&str>,
    ) -> Option<(&ResolvedService, &ServicePort)> {
        let known = self
            .declared()
            .filter(|it| it.service.is_known_in(namespace));
        let fitting = known.filter_map(|it| {
            let entry = it.service.entry.as_ref()?;
            let (port, _) = it.port(destination.port())?;
            let length = entry.network_of(&it.service.name.name, destination.ip())?;
            Some((length, &**it, port))
        });
        let found = fitting.min_by_key(|(length, it, _)| {
            let service = &it.service;
            let created = service.created.unwrap_or(i64::MAX);
            (std::cmp::Reverse(*length), created, &service.name)
        });
        found.map(|(_, service, port)| (service, port))
    }
}
