//! What one sidecar takes: the ports of its application, and who is served on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use weir_api::{inbound_tls::Served, names, xds::envoy::config::cluster::v3::Cluster};

use super::Generator;
use crate::{
    model::{
        Attachment, Endpoint, Hint, HintSource, InboundTls, Protocol, ResolvedService, ServiceKind,
        SidecarScope, Snapshot, TokenIssuer,
    },
    xds::{
        Client, View,
        build::{
            authorization::Authorization,
            inbound::{self, Inbound, Port, Probes},
        },
        names::host_of,
    },
};

impl Generator {
    pub(super) fn inbound(&self, snapshot: &Snapshot, client: &Client) -> Inbound<'_> {
        let rules = rules(snapshot, client);
        let speaks_tls = client.mutual_tls && self.settings.mutual_tls;
        let (mut ports, services) = self.ports(snapshot, client);
        let served = |port| rules.on(port).served(speaks_tls);
        let authorization = Authorization {
            rules: authorization(snapshot, client),
            tokens: tokens(snapshot, client),
            trust_domain: &self.settings.trust_domain,
            providers: &self.mesh.extension_providers,
        };
        // Where anybody's plaintext is taken, that of probes is, too.
        let mut probes = probes(snapshot, client);
        let refuses = authorization.refuses();
        probes.questions.retain(|probe| match served(probe.port) {
            Served::Strict => true,
            Served::Permissive | Served::Plaintext => refuses,
            Served::Refused => false,
        });
        let probed = probes.questions.iter().map(|probe| &probe.port);
        for port in rules.ports.keys().chain(probed) {
            ports.entry(*port).or_insert(Protocol::Auto);
        }
        let ports = ports.into_iter().map(|(number, protocol)| Port {
            number,
            protocol,
            mode: served(number),
        });
        let ports: Vec<_> = ports.collect();
        let scope = scope(snapshot, client);
        let is_scoped = |port: &u16| scope.is_some_and(|it| it.is_about(*port));
        let scoped = ports.iter().map(|port| port.number).filter(is_scoped);
        Inbound {
            scoped: scoped.collect(),
            ports,
            services,
            others: rules.mode.served(speaks_tls),
            probes,
            trust_domain: &self.settings.trust_domain,
            authorization,
        }
    }

    /// The ports of an application: those its containers declare and those that services send to. Who
    /// calls the pod by a service knows what that service says of the port; where it says nothing, the
    /// container's own name for the port counts. With the hosts of the services.
    fn ports(
        &self,
        snapshot: &Snapshot,
        client: &Client,
    ) -> (BTreeMap<u16, Protocol>, Vec<(u16, String)>) {
        let mut ports = BTreeMap::new();
        for port in &client.ports {
            let is_tcp = port.protocol.as_deref().is_none_or(|name| name == "TCP");
            let number = port.container_port;
            if is_tcp && number != 0 {
                let hint = Hint::of(None, port.name.as_deref(), number);
                ports.entry(number).or_insert(hint.protocol);
            }
        }
        let services = client.pod.iter().flat_map(|pod| snapshot.services_of(pod));
        let services = services.filter_map(|name| snapshot.service(name));
        let mut said: Vec<_> = services
            .flat_map(|service| service.ports().map(move |(port, all)| (service, port, all)))
            .flat_map(|(service, port, all)| {
                let numbers = own_ports(all, client);
                numbers.map(move |number| (number, service, port))
            })
            .collect();
        // Of several services one is believed, in the order in which they claim the address.
        said.sort_by_key(|(number, service, port)| {
            let declared = &service.service;
            let through_service = declared.kind != ServiceKind::Headless;
            let created = declared.created.unwrap_or(i64::MAX);
            let translated = port.port != *number;
            (
                *number,
                through_service,
                created,
                &declared.name,
                translated,
                port.port,
            )
        });
        said.dedup_by_key(|(number, ..)| *number);
        let host = |service: &ResolvedService| {
            let name = &service.service.name;
            host_of(name, &self.settings.cluster_domain)
        };
        let hosts = said
            .iter()
            .map(|(number, service, _)| (*number, host(service)));
        let hosts = hosts.collect();
        for (number, _, port) in said {
            if port.hint.source == HintSource::None {
                ports.entry(number).or_insert(Protocol::Auto);
            } else {
                ports.insert(number, port.hint.protocol);
            }
        }
        for (port, ingress) in scope(snapshot, client)
            .into_iter()
            .flat_map(|it| &it.ingress)
        {
            ports.insert(*port, ingress.hint.protocol);
        }
        (ports, hosts)
    }

    /// The cluster of a port of which a rule says more, for the sidecar of the view.
    pub(super) fn scoped_cluster(
        &self,
        snapshot: &Snapshot,
        name: &str,
        view: &View,
    ) -> Option<Cluster> {
        let View::Sidecar(client) = view else {
            return None;
        };
        let port = names::inbound_scoped_cluster_port(name)?;
        let scope = scope(snapshot, client)?;
        Some(inbound::scoped_cluster(
            name,
            port,
            scope,
            &client.addresses,
        ))
    }
}

/// What rules say of a sidecar as a whole.
pub(super) fn scope<'s>(snapshot: &'s Snapshot, client: &Client) -> Option<&'s SidecarScope> {
    let name = client.pod.as_ref()?;
    let pod = snapshot.pod_named(name);
    let labels = pod.map(|pod| &*pod.labels);
    snapshot.attachments().scope(&name.namespace, labels)
}

/// What rules say of connections to the pod of a sidecar. Before the pod is known, any rule of its
/// namespace may select it: the strictest counts.
fn rules(snapshot: &Snapshot, client: &Client) -> InboundTls {
    let Some(name) = &client.pod else {
        return InboundTls::default();
    };
    let attachments = snapshot.attachments();
    match snapshot.pod_named(name) {
        Some(pod) => attachments.inbound_tls_of(pod),
        None => attachments.inbound_tls_of_unknown(&name.namespace),
    }
}

/// Who may do what there; `None` if that cannot be said yet.
fn authorization(snapshot: &Snapshot, client: &Client) -> Option<Vec<Arc<Attachment>>> {
    let Some(name) = &client.pod else {
        return Some(Vec::new());
    };
    let attachments = snapshot.attachments();
    match snapshot.pod_named(name) {
        Some(pod) => Some(attachments.authorization_of(pod)),
        // Whoever would be believed cannot be let in before.
        None => attachments
            .authorization_of_unknown(&name.namespace)
            .filter(|_| attachments.tokens_of_unknown(&name.namespace).is_some()),
    }
}

/// Whose tokens count there.
fn tokens(snapshot: &Snapshot, client: &Client) -> Vec<TokenIssuer> {
    let Some(name) = &client.pod else {
        return Vec::new();
    };
    let attachments = snapshot.attachments();
    match snapshot.pod_named(name) {
        Some(pod) => attachments.tokens_of(pod),
        None => attachments
            .tokens_of_unknown(&name.namespace)
            .unwrap_or_default(),
    }
}

/// What the kubelet asks the pod of a sidecar, and from where.
fn probes(snapshot: &Snapshot, client: &Client) -> Probes {
    let pod = client
        .pod
        .as_ref()
        .and_then(|name| snapshot.pod_named(name));
    let Some(pod) = pod else {
        return Probes::default();
    };
    let node = pod.node.as_ref().and_then(|name| snapshot.node(name));
    let addresses = node.into_iter().flat_map(|node| &node.addresses);
    let addresses: BTreeSet<_> = addresses.chain(&pod.node_addresses).copied().collect();
    Probes {
        questions: match addresses.is_empty() {
            true => Vec::new(),
            false => pod.probes.to_vec(),
        },
        from: addresses.into_iter().collect(),
    }
}

/// The ports that a pod has among these endpoints, which are in the order of their addresses.
fn own_ports<'a>(endpoints: &'a [Endpoint], client: &'a Client) -> impl Iterator<Item = u16> + 'a {
    let own = client.addresses.iter().flat_map(move |address| {
        let first = SocketAddr::new(*address, 0);
        let first = endpoints.partition_point(|endpoint| endpoint.address < first);
        let rest = endpoints[first..].iter();
        rest.take_while(move |endpoint| endpoint.address.ip() == *address)
    });
    let own = own.filter(|endpoint| {
        let pod = endpoint.pod.as_ref().map(|pod| &pod.name);
        pod.is_some() && pod == client.pod.as_ref()
    });
    own.map(|endpoint| endpoint.address.port())
}
