//! Services whose requests are routed by rules.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use weir_api::{names, xds::envoy::config::route::v3::RouteConfiguration};

use super::{Generator, shaped::shapes_otherwise};
use crate::{
    model::{
        Attachment, Backend, Destination, Referrer, ResolvedService, Routing, ServicePort, Snapshot,
    },
    xds::{
        Client, Kind, View,
        build::{
            http,
            routing::{Chosen, Routed, Ruled, configuration},
        },
    },
};

impl Generator {
    /// The view that a client has of the routes of a port of a service, or of the listener before them.
    pub(super) fn routed_view(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        name: &str,
        client: &Client,
    ) -> View {
        // Who calls one endpoint is routed by no rule.
        let found = match kind {
            Kind::Listener => names::outbound_listener_destination(name)
                .and_then(|it| snapshot.destination(it))
                .map(|it| match it {
                    Destination::Service { service, port } => (service, Some(port)),
                    Destination::Endpoint { service, .. } => (service, None),
                }),
            _ => self
                .port(snapshot, name)
                .map(|(service, port, _)| (service, Some(port))),
        };
        let Some((service, port)) = found else {
            return View::Everyone;
        };
        let routings = snapshot.attachments().routings();
        let rules = |caller| {
            port.map(|port| routings.at(&service.service, port, caller))
                .unwrap_or_default()
        };
        let namespace = client.pod.as_ref().map(|pod| &*pod.namespace);
        let of_client = rules(namespace);
        let mut services = BTreeSet::from([service.service.name.clone()]);
        let routings = of_client.iter().filter_map(|it| it.effect.routing());
        services.extend(routings.flat_map(Routing::services).cloned());
        let Some(caller) = self.caller(snapshot, client, &services) else {
            return View::Everyone;
        };
        let is_shaped = || {
            let mut services = services.iter();
            services.any(|it| shapes_otherwise(snapshot, &caller, it))
        };
        match of_client != rules(None) || is_shaped() {
            true => View::Caller(caller),
            false => View::Everyone,
        }
    }

    /// The route configuration of a port with rules.
    pub(super) fn routed(
        &self,
        snapshot: &Snapshot,
        name: &str,
        port: &ServicePort,
        rules: &[&Arc<Attachment>],
        view: &View,
    ) -> RouteConfiguration {
        let rules = rules.iter().filter_map(|attachment| {
            let routing = attachment.effect.routing()?;
            Some(Ruled {
                routing,
                cluster: Box::new(move |backend| {
                    self.cluster_of(snapshot, attachment, routing, backend, view)
                }),
            })
        });
        configuration(&Routed {
            name,
            port: port.port,
            rules: rules.collect(),
        })
    }

    /// The cluster of a backend that gets requests.
    fn cluster_of(
        &self,
        snapshot: &Snapshot,
        attachment: &Attachment,
        routing: &Routing,
        backend: &Backend,
        view: &View,
    ) -> Option<Chosen> {
        let referrer = Referrer {
            kind: attachment.rule.kind,
            namespace: &attachment.rule.name.namespace,
            speech: routing.speech,
            parents: &routing.parents,
        };
        let (service, port) = backend.resolve(snapshot, &referrer).ok()?;
        let declared = &service.service;
        Some(Chosen {
            cluster: self.service_name(&declared.name, port.port),
            affinity: self.affinity(snapshot, service, port, None, view),
        })
    }

    /// The resources of a service that rules shape.
    pub(super) fn routed_resources(
        &self,
        service: &ResolvedService,
    ) -> impl Iterator<Item = (Kind, String)> {
        let declared = &service.service;
        let routes = declared.ports.iter();
        let routes = routes.map(|port| {
            let name = self.service_name(&declared.name, port.port);
            (Kind::Route, name)
        });
        let listeners = declared.addresses.iter().flat_map(|address| {
            let ports = declared.ports.iter();
            ports.map(|port| {
                let destination = SocketAddr::new(*address, port.port);
                (Kind::Listener, names::outbound_listener(destination))
            })
        });
        routes.chain(listeners)
    }
}

/// The rules in force at a port, as a view of it sees them.
pub(super) fn rules_at<'s>(
    snapshot: &'s Snapshot,
    service: &ResolvedService,
    port: &ServicePort,
    view: &View,
) -> Vec<&'s Arc<Attachment>> {
    let client = view.caller().map(|it| &*it.namespace);
    let routings = snapshot.attachments().routings();
    routings.at(&service.service, port, client)
}

/// Whether any of these says something of other origins.
pub(super) fn cors(rules: &[&Arc<Attachment>]) -> http::Cors {
    let rules = rules.iter().filter_map(|it| it.effect.routing());
    let mut rules = rules.flat_map(|it| &it.rules);
    match rules.any(|rule| rule.cors.is_some()) {
        true => http::Cors::Heeded,
        false => http::Cors::Absent,
    }
}
