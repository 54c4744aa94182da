//! Who stands behind a service, for clients that speak mutual TLS with it.

use std::collections::BTreeSet;

use weir_api::spiffe::SpiffeId;

use super::Generator;
use crate::{
    model::{Endpoint, ResolvedService, ServiceChange, ServicePort},
    xds::{
        build::tls::{Peers, Upstream},
        names::host_of,
    },
};

impl Generator {
    /// The other end of a cluster of that port with these endpoints.
    pub(super) fn upstream(
        &self,
        service: &ResolvedService,
        port: &ServicePort,
        endpoints: &[Endpoint],
    ) -> Upstream {
        let name = &service.service.name;
        let domain = &self.settings.cluster_domain;
        let trust_domain = &self.settings.trust_domain;
        let ids = accounts(endpoints).into_iter();
        let ids: BTreeSet<SpiffeId> = ids
            .filter_map(|(namespace, account)| trust_domain.id(namespace, account).ok())
            .collect();
        let peers = match ids.is_empty() {
            false => Peers::Accounts(ids),
            // Pods behind a service are of its namespace.
            true => Peers::Prefix(format!(
                "{}ns/{}/sa/",
                trust_domain.prefix(),
                name.namespace
            )),
        };
        Upstream {
            protocol: port.hint.protocol,
            port: port.port,
            subset: String::new(),
            host: host_of(name, domain),
            peers,
        }
    }
}

/// Namespace and service account of those of the endpoints that take mutual TLS, ready or not.
fn accounts(endpoints: &[Endpoint]) -> BTreeSet<(&str, &str)> {
    let endpoints = endpoints.iter().filter(|endpoint| endpoint.mutual_tls);
    let pods = endpoints.filter_map(|endpoint| endpoint.pod.as_ref());
    pods.map(|pod| (&*pod.name.namespace, &*pod.service_account))
        .collect()
}

/// Whether other accounts stand behind a port of the service than before.
pub(super) fn other_accounts(change: &ServiceChange) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    let (old, new) = (old.ports(), new.ports());
    // Of the same declaration, and so of the same ports.
    old.zip(new)
        .any(|((_, old), (_, new))| accounts(old) != accounts(new))
}
