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
        let namespace = client.namespace();
        if let Some(view) = self.outside_view(snapshot, kind, name, client) {
            return view;
        }
        let found = match kind {
            Kind::Listener => names::outbound_listener_destination(name)
                .and_then(|it| snapshot.destination_in(it, namespace))
                .map(|it| match it {
                    Destination::Service { service, port } => (service, Some(port)),
                    Destination::Endpoint { service, .. } => (service, None),
                }),
            _ => self
                .port(snapshot, name, namespace)
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
        let streams = |caller| {
            routings
                .streams(&service.service, caller)
                .filter(|_| port.is_some())
        };
        let of_client = rules(namespace);
        let in_force: Vec<_> = of_client
            .iter()
            .copied()
            .chain(streams(namespace))
            .collect();
        let mut services = BTreeSet::from([service.service.name.clone()]);
        for rule in &in_force {
            let of_requests = routings.rules_of(rule);
            let backends = of_requests.iter().flat_map(|it| it.backends());
            services.extend(backends.filter_map(Backend::service).cloned());
            let routing = rule.effect.routing().into_iter();
            services.extend(routing.flat_map(Routing::services).cloned());
        }
        let Some(caller) = self.caller(snapshot, client, &services) else {
            return View::Everyone;
        };
        let is_shaped = || {
            let mut services = services.iter();
            services.any(|it| shapes_otherwise(snapshot, &caller, it))
        };
        let asks = || in_force.iter().any(|it| routings.asks(it));
        let is_host = service.service.name.is_host();
        let is_routed = is_host || of_client != rules(None) || streams(namespace) != streams(None);
        match is_routed || asks() || is_shaped() {
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
                rules: snapshot.attachments().routings().rules_of(attachment),
                cluster: Box::new(move |backend| {
                    self.cluster_of(snapshot, attachment, backend, port.port, view)
                }),
            })
        });
        configuration(&Routed {
            name,
            port: port.port,
            caller: view.caller(),
            rules: rules.collect(),
        })
    }

    /// The cluster of a backend that gets requests.
    fn cluster_of(
        &self,
        snapshot: &Snapshot,
        attachment: &Attachment,
        backend: &Backend,
        asked: u16,
        view: &View,
    ) -> Option<Chosen> {
        let referrer = referrer(attachment, asked)?;
        let (service, port) = backend.resolve(snapshot, &referrer).ok()?;
        let declared = &service.service;
        let subset = backend.subset();
        Some(Chosen {
            cluster: self.cluster_name(snapshot, &declared.name, port.port, subset, view)?,
            affinity: self.affinity(snapshot, service, port, subset, view),
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

/// What these say of filters.
pub(super) fn heeded(snapshot: &Snapshot, rules: &[&Arc<Attachment>]) -> http::Heeded {
    let routings = snapshot.attachments().routings();
    let rules = rules.iter().flat_map(|it| routings.rules_of(it));
    rules.fold(http::Heeded::default(), |heeded, rule| http::Heeded {
        cors: heeded.cors || rule.cors.is_some(),
        fault: heeded.fault || rule.fault.is_some(),
    })
}

/// Who refers to backends of a rule, for requests to a port.
pub(super) fn referrer(attachment: &Attachment, asked: u16) -> Option<Referrer<'_>> {
    let routing = attachment.effect.routing()?;
    Some(Referrer {
        kind: attachment.rule.kind,
        namespace: &attachment.rule.name.namespace,
        speech: routing.speech,
        grammar: routing.grammar,
        parents: &routing.parents,
        asked: Some(asked),
    })
}
