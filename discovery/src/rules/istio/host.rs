//! Names of hosts, and the services that they stand for.

use super::is_label;
use crate::{
    model::{HostScope, NamespacedName},
    rules::Place,
};

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) enum Host {
    /// The name of a service, or of some, or of hosts that a ServiceEntry may declare.
    Services(HostScope),
    /// A name that looks like one of a Service, and of nothing.
    Elsewhere,
    /// No name at all.
    Malformed,
}

// === impl Host ===

impl Host {
    /// Reads a host. A short name is one of the rule's own namespace.
    pub(in crate::rules) fn read(text: &str, place: &Place<'_>) -> Self {
        let domain = &*place.settings.cluster_domain;
        if text == "*" {
            return Self::Services(HostScope::All);
        }
        if let Some(rest) = text.strip_prefix("*.") {
            return match rest.split('.').all(is_label) {
                true => wildcard(rest, domain, place),
                false => Self::Malformed,
            };
        }
        if !text.split('.').all(is_label) || text.len() > MOST {
            return Self::Malformed;
        }
        match service(text, place) {
            Some(name) => Self::Services(HostScope::Service(name)),
            None if is_near(text, domain) => Self::Elsewhere,
            None => Self::Services(HostScope::Host(place.names.text(text))),
        }
    }
}

/// Most bytes of a name of DNS.
pub(in crate::rules) const MOST: usize = 253;

/// Whether a name is that of a Service in part, or of something in a Service.
fn is_near(text: &str, domain: &str) -> bool {
    let of_cluster = text.strip_suffix(domain).is_some_and(|it| it.ends_with(".svc."));
    of_cluster || text.ends_with(".svc")
}

/// The service that a host without a star is the name of.
pub(in crate::rules) fn service(text: &str, place: &Place<'_>) -> Option<NamespacedName> {
    if !text.contains('.') {
        return Some(place.names.name(place.namespace, text));
    }
    let rest = text.strip_suffix(&*place.settings.cluster_domain)?;
    let (name, namespace) = rest.strip_suffix(".svc.")?.split_once('.')?;
    let one = is_label(name) && is_label(namespace);
    one.then(|| place.names.name(namespace, name))
}

/// What a star and these labels stand for.
fn wildcard(rest: &str, domain: &str, place: &Place<'_>) -> Host {
    let within = format!("svc.{domain}");
    if rest == within || within.ends_with(&format!(".{rest}")) {
        return Host::Services(HostScope::All);
    }
    match rest.strip_suffix(&format!(".{within}")) {
        Some(namespace) if is_label(namespace) => {
            Host::Services(HostScope::Namespace(place.names.text(namespace)))
        }
        Some(_) => Host::Elsewhere,
        None => Host::Services(HostScope::Under(place.names.text(rest))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kubernetes::wire::Meta, model::Interner, rules::Settings};

    #[test]
    fn a_host_is_a_service_those_of_a_namespace_all_of_them_or_none_of_ours() {
        let (meta, names, settings) = (Meta::default(), Interner::default(), Settings::default());
        let place = Place {
            meta: &meta,
            namespace: "shop",
            names: &names,
            settings: &settings,
        };
        let one = |namespace: &str, name: &str| {
            Host::Services(HostScope::Service(NamespacedName::new(namespace, name)))
        };
        let host = |name: &str| Host::Services(HostScope::Host(name.into()));
        for (text, host) in [
            ("web", one("shop", "web")),
            ("web.bank.svc.cluster.local", one("bank", "web")),
            ("*", Host::Services(HostScope::All)),
            ("*.local", Host::Services(HostScope::All)),
            ("*.svc.cluster.local", Host::Services(HostScope::All)),
            (
                "*.bank.svc.cluster.local",
                Host::Services(HostScope::Namespace("bank".into())),
            ),
            ("web.bank", host("web.bank")),
            ("web.bank.svc", Host::Elsewhere),
            ("a.web.bank.svc.cluster.local", Host::Elsewhere),
            ("example.com", host("example.com")),
            (
                "*.example.com",
                Host::Services(HostScope::Under("example.com".into())),
            ),
            ("*web.bank.svc.cluster.local", Host::Malformed),
            ("a b", Host::Malformed),
            ("", Host::Malformed),
            ("Web", Host::Malformed),
        ] {
            assert_eq!(Host::read(text, &place), host, "{text}");
        }
    }
}
