//! The words in which policies name attributes.

use std::sync::Arc;

use crate::model::{Attribute, Interner};

/// A field with values, the one that excludes, and what both are about.
pub(super) type Field = (&'static str, &'static str, Attribute);

/// Fields of a source, each beside the one that excludes.
pub(super) static SOURCE: [Field; 7] = [
    ("principals", "notPrincipals", Attribute::Principal),
    (
        "requestPrincipals",
        "notRequestPrincipals",
        Attribute::TokenPrincipal,
    ),
    ("namespaces", "notNamespaces", Attribute::Namespace),
    (
        "serviceAccounts",
        "notServiceAccounts",
        Attribute::ServiceAccount,
    ),
    ("trustDomains", "notTrustDomains", Attribute::TrustDomain),
    ("ipBlocks", "notIpBlocks", Attribute::SourceIp),
    ("remoteIpBlocks", "notRemoteIpBlocks", Attribute::RemoteIp),
];

/// The same of an operation.
pub(super) static OPERATION: [Field; 4] = [
    ("hosts", "notHosts", Attribute::Host),
    ("methods", "notMethods", Attribute::Method),
    ("paths", "notPaths", Attribute::Path),
    ("ports", "notPorts", Attribute::DestinationPort),
];

/// What begins the keys of attributes that filters of Envoy set, which nobody sets here.
pub(super) const EXPERIMENTAL: &str = "experimental.envoy.filters.";

/// The attribute of a `when`, if the key is one that is known here.
pub(super) fn attribute(key: &str, names: &Interner) -> Option<Attribute> {
    Some(match key {
        "source.ip" => Attribute::SourceIp,
        "remote.ip" => Attribute::RemoteIp,
        "source.namespace" => Attribute::Namespace,
        "source.principal" => Attribute::Principal,
        "source.serviceAccount" => Attribute::ServiceAccount,
        "source.trustDomain" => Attribute::TrustDomain,
        "destination.ip" => Attribute::DestinationIp,
        "destination.port" => Attribute::DestinationPort,
        "connection.sni" => Attribute::ServerName,
        "request.auth.principal" => Attribute::TokenPrincipal,
        "request.auth.audiences" => Attribute::TokenAudiences,
        "request.auth.presenter" => Attribute::TokenPresenter,
        _ => {
            if let Some(path) = key.strip_prefix("request.auth.claims") {
                return claim(path, names);
            }
            let name = key.strip_prefix("request.headers[")?.strip_suffix(']')?;
            (!name.is_empty()).then(|| Attribute::Header(names.text(name)))?
        }
    })
}

/// The claim of a way as `[a][b]`.
fn claim(path: &str, names: &Interner) -> Option<Attribute> {
    let inner = path.strip_prefix('[')?.strip_suffix(']')?;
    let keys = inner.split("][");
    let keys = keys.map(|key| {
        let is_one = !key.is_empty() && !key.contains(['[', ']']);
        is_one.then(|| names.text(key))
    });
    let keys: Option<Arc<[_]>> = keys.collect();
    keys.map(Attribute::TokenClaim)
}
