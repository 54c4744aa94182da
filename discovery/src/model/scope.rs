//! What rules say of single sidecars as a whole: what they take, and what their pods may reach.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Attachment, ConnectionPool, Hint, Labels, RuleName, Target};

/// What one object says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SidecarScope {
    /// What becomes of connections to what the mesh does not know, if not what the mesh says.
    pub outbound: Option<Unknown>,
    /// Bounds of connections and requests to the application.
    pub pool: Option<Arc<ConnectionPool>>,
    /// Ports of the application, by number.
    pub ingress: BTreeMap<u16, Ingress>,
}

/// What becomes of connections to what the mesh does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// They are passed through.
    Passed,
    /// They are refused.
    Refused,
}

/// A port of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// What is spoken there.
    pub hint: Hint,
    /// Where the application listens; at the address that the peer used if nothing is said.
    pub endpoint: Option<SocketAddr>,
    /// Bounds, in place of those of all ports.
    pub pool: Option<Arc<ConnectionPool>>,
}

/// All that is said of sidecars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scopes {
    mesh: Level,
    namespaces: BTreeMap<Arc<str>, Level>,
}

/// Oldest first, then by name.
type Level = BTreeMap<(i64, RuleName), Arc<Attachment>>;

// === impl SidecarScope ===

impl SidecarScope {
    /// Whether it says anything of how a port of the application is dialled.
    #[must_use]
    pub fn is_about(&self, port: u16) -> bool {
        let ingress = self.ingress.get(&port);
        let says = ingress.is_some_and(|it| it.endpoint.is_some() || it.pool.is_some());
        says || self.pool.is_some()
    }

    /// Bounds of connections and requests to a port of the application.
    #[must_use]
    pub fn pool_of(&self, port: u16) -> Option<&Arc<ConnectionPool>> {
        let of_port = self.ingress.get(&port);
        of_port
            .and_then(|it| it.pool.as_ref())
            .or(self.pool.as_ref())
    }

    /// Where the application listens for what comes to a port, in a pod with these addresses.
    #[must_use]
    pub fn endpoint_of(&self, port: u16, addresses: &[IpAddr]) -> Option<SocketAddr> {
        let endpoint = self.ingress.get(&port)?.endpoint?;
        if !endpoint.ip().is_unspecified() {
            return Some(endpoint);
        }
        let is_v4 = endpoint.is_ipv4();
        let own = addresses.iter().find(|it| it.is_ipv4() == is_v4)?;
        Some(SocketAddr::new(*own, endpoint.port()))
    }
}

// === impl Scopes ===

impl Scopes {
    pub(super) fn insert(&mut self, attachment: Arc<Attachment>) {
        let rule = attachment.rule.clone();
        let level = match attachment.target {
            Target::Mesh => &mut self.mesh,
            _ => {
                let namespace = rule.name.namespace.clone();
                self.namespaces.entry(namespace).or_default()
            }
        };
        level.insert((attachment.created.unwrap_or(i64::MAX), rule), attachment);
    }

    pub(super) fn remove(&mut self, rule: &RuleName) {
        self.mesh.retain(|(_, other), _| other != rule);
        let namespace = &rule.name.namespace;
        if let Some(level) = self.namespaces.get_mut(namespace) {
            level.retain(|(_, other), _| other != rule);
            if level.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    pub(super) fn get(&self, rule: &RuleName) -> Option<&Arc<Attachment>> {
        let local = self.namespaces.get(&rule.name.namespace);
        let mut all = self.mesh.iter().chain(local.into_iter().flatten());
        all.find_map(|((_, other), attachment)| (other == rule).then_some(attachment))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mesh.is_empty() && self.namespaces.is_empty()
    }

    /// What is said of the sidecar of a pod: of its namespace what selects the pod, else what selects
    /// nobody in particular, else what is said of the mesh. The oldest counts.
    pub(super) fn of(&self, namespace: &str, labels: Option<&Labels>) -> Option<&SidecarScope> {
        let local = self.namespaces.get(namespace);
        let local = || local.into_iter().flat_map(BTreeMap::values);
        let selects = |it: &&Arc<Attachment>| match (&it.target, labels) {
            (Target::Workloads(asked), Some(labels)) => {
                let mut asked = asked.iter();
                asked.all(|(key, value)| labels.get(key) == Some(value))
            }
            _ => false,
        };
        let of_pod = local().find(selects);
        let of_namespace = || local().find(|it| it.target == Target::Namespace);
        let found = of_pod
            .or_else(of_namespace)
            .or_else(|| self.mesh.values().next());
        found.and_then(|it| it.effect.scope())
    }
}
