//! Addresses that no service has, and hosts that are known by their names alone.

use std::{collections::BTreeSet, net::SocketAddr};

use weir_api::{
    names,
    xds::envoy::config::{listener::v3::Listener, route::v3::RouteConfiguration},
};

use super::{
    Generator,
    routed::{heeded, rules_at},
};
use crate::{
    model::{Changes, NamespacedName, Protocol, ResolvedService, ServicePort, Snapshot},
    xds::{
        Client, Kind, OutboundMode, View,
        build::{
            http, listener, outside,
            route,
            streams::{Shares, Streams},
        },
        names::host_of,
    },
};

/// A port of a host.
type HostPort<'a> = (&'a ResolvedService, &'a ServicePort);

impl Generator {
    /// The view that a client has of what a name says of addresses that are nobody's; none if it says
    /// nothing of them.
    pub(super) fn outside_view(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        name: &str,
        client: &Client,
    ) -> Option<View> {
        let namespace = client.namespace();
        let port = match kind {
            Kind::Listener => {
                let destination = names::outbound_listener_destination(name)?;
                let is_known = snapshot.destination_in(destination, namespace).is_some();
                (!is_known).then(|| destination.port())?
            }
            Kind::Route => port_of(name)?,
            _ => return None,
        };
        let hosts = snapshot.by_name(port, namespace);
        let mode = self.outbound_mode(snapshot, client);
        if hosts.is_empty() && mode == OutboundMode::AllowAny {
            return Some(View::Everyone);
        }
        let services = hosts.iter().map(|(it, _)| it.service.name.clone());
        let services: BTreeSet<_> = services.collect();
        let caller = self.caller(snapshot, client, &services);
        Some(caller.map_or(View::Everyone, |caller| View::Outside(caller, mode)))
    }

    /// What becomes of a client's connections to what the mesh does not know.
    pub(super) fn outbound_mode(&self, _: &Snapshot, _: &Client) -> OutboundMode {
        self.mesh.outbound_traffic_policy.mode
    }

    fn mode_in(&self, view: &View) -> OutboundMode {
        match view {
            View::Outside(_, mode) => *mode,
            _ => self.mesh.outbound_traffic_policy.mode,
        }
    }

    /// The listener of an address that is nobody's. None: there is nothing to look for.
    pub(super) fn outside(
        &self,
        snapshot: &Snapshot,
        destination: SocketAddr,
        view: &View,
    ) -> Option<Listener> {
        let mode = self.mode_in(view);
        let hosts = snapshot.by_name(destination.port(), view.namespace());
        if hosts.is_empty() && mode == OutboundMode::AllowAny {
            return None;
        }
        let name = destination.port().to_string();
        let host = destination.ip().to_string();
        let speak_http = hosts.iter().copied().filter(|it| speaks_http(it));
        let mut heeded_by = http::Heeded::default();
        for (service, port) in speak_http.clone() {
            heeded_by |= heeded(snapshot, &rules_at(snapshot, service, port, view));
        }
        let looks_for_http = speak_http.count() > 0 || mode == OutboundMode::RegistryOnly;
        let outbound = |cluster, host, protocol| listener::Outbound {
            destination,
            protocol,
            cluster,
            host,
            routes: http::Routes::Named,
            heeded: heeded_by,
            affinity: crate::model::SessionAffinity::None,
            streams: Streams::default(),
            idle_timeout: None,
            log: self.mesh.access_log,
        };
        let speak_tls = hosts.iter().filter(|(_, port)| {
            matches!(port.hint.protocol, Protocol::Tls | Protocol::Auto)
        });
        let named: Vec<_> = speak_tls
            .map(|(service, port)| {
                let cluster = self.service_name(&service.service.name, port.port);
                let shares = self.tls_of(snapshot, (service, port), destination, view);
                let host = host_of(&service.service.name, &self.settings.cluster_domain);
                (cluster, host, (*service, *port), shares)
            })
            .collect();
        let tls = named.iter().map(|(cluster, host, (service, port), shares)| {
            let name = &service.service.name;
            let pool = self.policy(snapshot, name, port, view).pool;
            let outbound = listener::Outbound {
                affinity: self.affinity(snapshot, service, port, None, view),
                idle_timeout: pool.and_then(|pool| pool.tcp.idle_timeout),
                ..outbound(cluster, host, port.hint.protocol)
            };
            (host.clone(), outbound, shares.clone())
        });
        Some(outside::listener(&outside::Outside {
            destination,
            http: looks_for_http.then(|| outbound(&name, &host, Protocol::Http)),
            tls: tls.collect(),
            rest: mode,
            log: self.mesh.access_log,
        }))
    }

    /// Where connections of TLS go that ask for a host.
    fn tls_of(
        &self,
        snapshot: &Snapshot,
        (service, port): HostPort<'_>,
        destination: SocketAddr,
        view: &View,
    ) -> Shares {
        let name = &service.service.name;
        let streams = self.streams(snapshot, service, port, destination, view);
        let asked = |it: &&(Vec<String>, Shares)| {
            let mut names = it.0.iter();
            names.any(|it| *it == *name.name || it == "*")
        };
        let by_name = streams.by_name.iter().find(asked);
        let by_name = by_name.map(|(_, shares)| shares.clone()).or(streams.rest);
        by_name.unwrap_or_else(|| vec![(self.service_name(name, port.port), 1)])
    }

    /// The routes of requests to a port of addresses that are nobody's, if the name is that of such.
    pub(super) fn outside_routes(
        &self,
        snapshot: &Snapshot,
        name: &str,
        view: &View,
    ) -> Option<RouteConfiguration> {
        let port = port_of(name)?;
        let hosts = snapshot.by_name(port, view.namespace()).into_iter();
        let hosts = hosts.filter(speaks_http).map(|(service, port)| {
            let cluster = self.service_name(&service.service.name, port.port);
            let rules = rules_at(snapshot, service, port, view);
            let routes = match rules.is_empty() {
                true => {
                    let affinity = self.affinity(snapshot, service, port, None, view);
                    route::to_cluster(&cluster, affinity)
                }
                false => self.routed(snapshot, &cluster, port, &rules, view),
            };
            (service.service.name.name.to_string(), routes)
        });
        Some(outside::routes(name, hosts, self.mode_in(view)))
    }

    /// The ports on which addresses that are nobody's may mean something else after these changes.
    #[must_use]
    pub fn affected_outside(&self, snapshot: &Snapshot, changes: &Changes) -> BTreeSet<u16> {
        let gone = changes.services.values().filter_map(|it| it.old.as_ref());
        let other = changes.shaped.keys().chain(&changes.routed);
        let new = changes.services.keys().chain(other);
        let new = new.filter(|name: &&NamespacedName| name.is_host());
        let new = new.filter_map(|name| snapshot.service(name));
        let gone = gone.filter(|it| it.service.name.is_host());
        let ports = gone.chain(new).flat_map(|it| &it.service.ports);
        ports.map(|port| port.port).collect()
    }
}

/// The port in the name of the routes of addresses that are nobody's.
fn port_of(name: &str) -> Option<u16> {
    let port = name.parse().ok().filter(|port: &u16| *port != 0)?;
    // Other spellings of a number are other names, and nobody's.
    (port.to_string() == name).then_some(port)
}

fn speaks_http((_, port): &HostPort<'_>) -> bool {
    matches!(
        port.hint.protocol,
        Protocol::Http | Protocol::Http2 | Protocol::Auto
    )
}

/// The ports of hosts that everybody knows by their names alone.
fn ports(snapshot: &Snapshot) -> BTreeSet<u16> {
    let ports = snapshot.declared().flat_map(|it| &it.service.ports);
    let ports: BTreeSet<_> = ports.map(|port| port.port).collect();
    let has_hosts = |port: &u16| !snapshot.by_name(*port, None).is_empty();
    ports.into_iter().filter(has_hosts).collect()
}

/// Listeners for a client that asks for everything at once: one a port, for any address.
pub(super) fn listeners(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let ports = ports(snapshot).into_iter();
    ports.map(move |port| names::outbound_listener(any(port)))
}

/// Their routes.
pub(super) fn routes(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let ports = ports(snapshot).into_iter();
    ports.map(|port| port.to_string())
}
