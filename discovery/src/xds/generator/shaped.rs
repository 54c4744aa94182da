//! Services to which rules have callers connect in another way.

use std::{collections::BTreeSet, sync::Arc};

use weir_api::{
    names,
    xds::envoy::config::{cluster::v3::Cluster, core::v3::UpstreamHttpProtocolOptions},
};

use super::Generator;
use crate::{
    model::{
        Caller, ClientTls, DestinationRules, Endpoint, Labels, NamespacedName, ResolvedService,
        ServicePort, SessionAffinity, Snapshot, TrafficPolicy,
    },
    xds::{
        Client, Kind, View,
        build::{cluster, shape, tls},
        names::Subject,
        topology,
    },
};

impl Generator {
    /// Who a client is to rules about these services; none if it is nobody in particular.
    pub(super) fn caller(
        &self,
        snapshot: &Snapshot,
        client: &Client,
        services: &BTreeSet<NamespacedName>,
    ) -> Option<Caller> {
        let pod = client.pod.as_ref()?;
        let known = snapshot.pod_named(pod);
        let labels: Option<&Labels> = known.map(|pod| &*pod.labels);
        let attachments = snapshot.attachments();
        Some(attachments.caller(&pod.namespace, labels, services))
    }

    /// The view that a client has of a cluster.
    pub(super) fn cluster_view(&self, snapshot: &Snapshot, name: &str, client: &Client) -> View {
        let speaks = client.mutual_tls && self.settings.mutual_tls;
        let namespace = client.namespace();
        let caller = self.parse(snapshot, name, namespace).and_then(|subject| {
            let service = subject.service();
            let caller = self.caller(snapshot, client, &[service.clone()].into())?;
            let differs = service.is_host() || shapes_otherwise(snapshot, &caller, service);
            differs.then_some(caller)
        });
        match (speaks, caller) {
            (true, caller) => View::MutualTls(caller),
            (false, Some(caller)) => View::Caller(caller),
            (false, None) => View::Everyone,
        }
    }

    /// The view that a client has of the endpoints of a cluster.
    pub(super) fn endpoint_view(&self, snapshot: &Snapshot, name: &str, client: &Client) -> View {
        let namespace = client.namespace();
        let Some((service, _, endpoints)) = self.port(snapshot, name, namespace) else {
            return View::Everyone;
        };
        let service_name = &service.service.name;
        let caller = self.caller(snapshot, client, &[service_name.clone()].into());
        let place = match &caller {
            Some(caller) if service_name.is_host() => View::Caller(caller.clone()),
            _ => topology::view(snapshot, service, endpoints, client),
        };
        let subject = self.parse(snapshot, name, namespace);
        let Some(Subject::Subset { subset, .. }) = subject else {
            return place;
        };
        let name = service_name;
        let rules = destinations(snapshot).at(name, caller.as_ref());
        match rules.subset(&subset) {
            Some(subset) => View::Subset(subset.labels.clone(), Box::new(place)),
            None => View::Everyone,
        }
    }

    /// The labels of the group of endpoints that a load assignment is of. None: there is no such group.
    pub(super) fn subset_labels(
        &self,
        snapshot: &Snapshot,
        name: &str,
        view: &View,
    ) -> Option<Option<Labels>> {
        let Some(Subject::Subset {
            service, subset, ..
        }) = self.parse(snapshot, name, view.namespace())
        else {
            return Some(None);
        };
        if let View::Subset(labels, _) = view {
            return Some(Some(labels.clone()));
        }
        let rules = destinations(snapshot).at(&service, None);
        let subset = rules.subset(&subset)?;
        Some(Some(subset.labels.clone()))
    }

    /// The clusters and load assignments of the groups of endpoints that rules have.
    pub(super) fn subset_names(
        &self,
        snapshot: &Snapshot,
        service: &ResolvedService,
    ) -> Vec<String> {
        let subsets = destinations(snapshot).subsets_of(&service.service.name);
        self.names_of_subsets(service, &subsets)
    }

    pub(super) fn names_of_subsets(
        &self,
        service: &ResolvedService,
        subsets: &BTreeSet<Arc<str>>,
    ) -> Vec<String> {
        let ports = service.service.ports.iter();
        let names = ports.flat_map(|port| {
            subsets.iter().map(|subset| {
                self.name(&Subject::Subset {
                    service: service.service.name.clone(),
                    port: port.port,
                    subset: subset.to_string(),
                })
            })
        });
        names.collect()
    }

    /// Every resource of a service that depends on how callers connect to it.
    pub(super) fn shaped_resources(
        &self,
        snapshot: &Snapshot,
        service: &ResolvedService,
        subsets: &BTreeSet<Arc<str>>,
    ) -> Vec<(Kind, String)> {
        let name = &service.service.name;
        let mut all: Vec<_> = self.routed_resources(service).collect();
        for port in &service.service.ports {
            all.push((Kind::Cluster, self.service_name(name, port.port)));
        }
        for name in self.names_of_subsets(service, subsets) {
            all.extend([(Kind::Cluster, name.clone()), (Kind::Endpoint, name)]);
        }
        let endpoints = service.ports().flat_map(|(_, endpoints)| endpoints);
        for endpoint in endpoints {
            let claim = snapshot.claim(endpoint.address);
            let cluster = self.endpoint_name(endpoint.address, claim);
            all.extend(cluster.map(|name| (Kind::Cluster, name)));
            let listener = names::outbound_listener(endpoint.address);
            all.push((Kind::Listener, listener));
        }
        all
    }

    /// A cluster of a port as rules shape it. `behind` are the endpoints that it may lead to.
    pub(super) fn shape(
        &self,
        message: &mut Cluster,
        policy: &TrafficPolicy,
        (service, port, subset): (&ResolvedService, &ServicePort, &str),
        behind: &[Endpoint],
        view: &View,
    ) {
        let protocol = shape::protocol(port.hint.protocol, policy);
        let mut options = cluster::http_options(protocol);
        if let (Some(ClientTls::Origination(said)), Some(options)) =
            (policy.tls.as_deref(), &mut options)
            && said.sni.is_none()
        {
            let verifies = said.authorities.is_some() && said.names.is_empty();
            options.upstream_http_protocol_options = Some(UpstreamHttpProtocolOptions {
                auto_sni: true,
                auto_san_validation: verifies,
                ..UpstreamHttpProtocolOptions::default()
            });
            message.typed_extension_protocol_options = cluster::extension_options(options);
        }
        shape::bound(message, options, policy);
        let upstream = || tls::Upstream {
            subset: subset.to_owned(),
            protocol,
            ..self.upstream(service, port, behind)
        };
        let is_original = policy.balancing == Some(crate::model::Balancing::Passthrough);
        match (policy.tls.as_deref(), view) {
            (Some(ClientTls::Disable), _) => {}
            (Some(ClientTls::Mesh), _) => message.transport_socket = Some(upstream().socket()),
            (Some(ClientTls::Origination(said)), _) => {
                message.transport_socket = Some(tls::origination(said, protocol));
            }
            (None, View::MutualTls(_)) if !is_original => {
                message.transport_socket_matches = upstream().matches();
            }
            (None, _) => {}
        }
    }

    /// The cluster of a port, or of a group of its endpoints. None: there is no such group.
    pub(super) fn cluster_name(
        &self,
        snapshot: &Snapshot,
        service: &NamespacedName,
        port: u16,
        subset: Option<&str>,
        view: &View,
    ) -> Option<String> {
        let Some(subset) = subset else {
            return Some(self.service_name(service, port));
        };
        let rules = destinations(snapshot).at(service, view.caller());
        rules.subset(subset)?;
        Some(self.name(&Subject::Subset {
            service: service.clone(),
            port,
            subset: subset.to_owned(),
        }))
    }

    /// How a port is called by whoever has the view.
    pub(super) fn policy(
        &self,
        snapshot: &Snapshot,
        service: &NamespacedName,
        port: &ServicePort,
        view: &View,
    ) -> TrafficPolicy {
        let rules = destinations(snapshot).at(service, view.caller());
        rules.policy(port.port, None)
    }

    /// Whether a caller comes to the same endpoint each time, of a port or of a group of its endpoints.
    pub(super) fn affinity(
        &self,
        snapshot: &Snapshot,
        service: &ResolvedService,
        port: &ServicePort,
        subset: Option<&str>,
        view: &View,
    ) -> SessionAffinity {
        let rules = destinations(snapshot).at(&service.service.name, view.caller());
        let subset = subset.and_then(|it| rules.subset(it));
        let policy = rules.policy(port.port, subset);
        shape::affinity(service.service.session_affinity, &policy)
    }
}

/// Whether rules have a caller connect to a service otherwise than others.
pub(super) fn shapes_otherwise(
    snapshot: &Snapshot,
    caller: &Caller,
    service: &NamespacedName,
) -> bool {
    let rules = destinations(snapshot);
    rules.at(service, Some(caller)) != rules.at(service, None)
}

fn destinations(snapshot: &Snapshot) -> &DestinationRules {
    snapshot.attachments().destinations()
}
