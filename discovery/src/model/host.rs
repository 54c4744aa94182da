//! What services a rule of Istio's names, whom it is exported to, and who calls.

use std::{collections::BTreeSet, sync::Arc};

use super::{Labels, NamespacedName, Snapshot};

/// The services that a host stands for. The narrower counts for more, and is less.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostScope {
    /// One.
    Service(NamespacedName),
    /// Those of a host that rules declare, as it is written there.
    Host(Arc<str>),
    /// Those of hosts that end like this, after a dot.
    Under(Arc<str>),
    /// All of a namespace.
    Namespace(Arc<str>),
    /// All.
    All,
}

/// Callers in which namespaces a rule is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Exports {
    /// In all.
    #[default]
    All,
    /// In these.
    To(BTreeSet<Arc<str>>),
}

/// Who calls, as far as rules ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Those of its labels that some rule asks for.
    pub labels: Labels,
}

// === impl HostScope ===

impl HostScope {
    /// Every scope that a service is within, the narrowest first.
    #[must_use]
    pub fn around(service: &NamespacedName) -> Vec<Self> {
        let mut all = Vec::with_capacity(3);
        if service.is_host() {
            all.push(Self::Host(service.name.clone()));
            let mut rest = &*service.name;
            while let Some((_, after)) = rest.split_once('.') {
                all.push(Self::Under(after.into()));
                rest = after;
            }
        } else {
            all.push(Self::Service(service.clone()));
            all.push(Self::Namespace(service.namespace.clone()));
        }
        all.push(Self::All);
        all
    }

    /// The services of a snapshot within it.
    pub(super) fn services<'s>(
        &'s self,
        snapshot: &'s Snapshot,
    ) -> Box<dyn Iterator<Item = NamespacedName> + 's> {
        let all = || snapshot.services().map(|it| it.service.name.clone());
        match self {
            Self::Service(name) => Box::new(std::iter::once(name.clone())),
            Self::Host(host) => Box::new(snapshot.hosts_named(host).cloned()),
            Self::Under(domain) => {
                let is_under = |host: &str| {
                    let host = host.strip_suffix(&**domain);
                    host.is_some_and(|it| it.ends_with('.'))
                };
                let all = snapshot.declared().map(|it| &it.service.name);
                Box::new(all.filter(move |it| is_under(&it.name)).cloned())
            }
            Self::Namespace(namespace) => {
                Box::new(all().filter(move |name| name.namespace == *namespace))
            }
            Self::All => Box::new(all()),
        }
    }
}

// === impl Exports ===

impl Exports {
    /// Whether callers of a namespace are among them; none in particular are if all are.
    #[must_use]
    pub fn reach(&self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Self::All, _) => true,
            (Self::To(namespaces), Some(namespace)) => namespaces.contains(namespace),
            (Self::To(_), None) => false,
        }
    }
}

// === impl Caller ===

impl Caller {
    /// Whether it has all these labels.
    #[must_use]
    pub fn has(&self, labels: &Labels) -> bool {
        let mut asked = labels.iter();
        asked.all(|(key, value)| self.labels.get(key) == Some(value))
    }
}
