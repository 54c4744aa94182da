//! `/explain?dst=IP:PORT`: which listener, filter chains, routes, clusters and endpoints serve a
//! connection to an original destination, by the snapshot in force.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use http::StatusCode;

use super::{Admin, query::Query, reply::Reply};
use crate::{
    cluster::{HealthFlags, Healths, endpoints_of},
    config::{
        Cluster, HttpConnectionManager, Listener, RouteConfiguration,
        cluster::ClusterDiscovery,
        dns::DnsEndpoints,
        endpoint::HealthStatus,
        http::RouteSource,
        listener::{FilterChain, NetworkFilter, TrafficDirection},
        route::{ForwardTarget, PathMatch, Route, RouteAction},
    },
    snapshot::{Destination, Snapshot},
};

pub(super) const PARAMETERS: &[(&str, &str)] = &[
    ("dst", "original destination, IP:PORT"),
    ("direction", "outbound (the default) or inbound"),
];

/// Text that is indented by what it belongs to.
struct Page<'a> {
    text: String,
    snapshot: &'a Snapshot,
    healths: &'a Healths,
    destination: SocketAddr,
}

/// `/explain`
pub(super) fn print(admin: &Admin, query: &Query) -> Reply {
    let bad = |reason: String| Reply::error(StatusCode::BAD_REQUEST, reason + "\n");
    let Some(destination) = query.get("dst") else {
        return bad("usage: /explain?dst=IP:PORT".to_owned());
    };
    let Ok(destination) = destination.parse() else {
        return bad(format!("dst {destination:?} is not IP:PORT or [IPv6]:PORT"));
    };
    let direction = match query.get("direction").unwrap_or("outbound") {
        "outbound" => TrafficDirection::Outbound,
        "inbound" => TrafficDirection::Inbound,
        other => return bad(format!("direction {other:?} is not outbound or inbound")),
    };
    let snapshot = admin.handle.snapshot();
    let mut page = Page {
        text: String::new(),
        snapshot: &snapshot,
        healths: admin.handle.health(),
        destination,
    };
    page.connection(direction);
    Reply::text(page.text)
}

// === impl Page ===

impl Page<'_> {
    fn line(&mut self, depth: usize, line: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:1$}{line}", "", depth * 2);
    }

    fn connection(&mut self, direction: TrafficDirection) {
        let destination = self.destination;
        self.line(0, format_args!("destination {destination}"));
        let snapshot = self.snapshot;
        let Some(first) = accepting(snapshot, self.destination, direction) else {
            self.line(0, "no listener accepts it");
            return;
        };
        self.line(
            0,
            format_args!("accepted by listener {:?} on {}", first.name, first.address),
        );
        if !first.use_original_dst {
            self.listener(first);
            return;
        }
        match snapshot.destination(self.destination) {
            Some(Destination::Present(present)) => {
                let listener = &present.listener;
                let name = &listener.name;
                self.line(0, format_args!("handed over to listener {name:?}"));
                self.listener(listener);
            }
            Some(Destination::Absent) => {
                self.line(0, "the control plane knows no such destination");
                self.listener(first);
            }
            None if first.on_demand.is_none() => {
                self.line(0, "no listener has this destination");
                self.listener(first);
            }
            None if snapshot.discovery_available => {
                self.line(
                    0,
                    "not known yet: the first connection asks the control plane",
                );
                self.line(0, "until it answers:");
                self.listener(first);
            }
            None => {
                self.line(0, "not known, and the control plane is out of reach");
                self.listener(first);
            }
        }
    }

    fn listener(&mut self, listener: &Listener) {
        let mut found = false;
        for chain in &listener.filter_chains {
            if may_serve(chain, self.destination) {
                found = true;
                self.chain(chain);
            }
        }
        if let Some(chain) = &listener.default_filter_chain {
            found = true;
            self.line(1, "else the default filter chain");
            self.chain(chain);
        }
        if !found {
            self.line(1, "no filter chain serves it: the connection is closed");
        }
    }

    fn chain(&mut self, chain: &FilterChain) {
        let criteria = &chain.criteria;
        let mut conditions = Vec::new();
        if let Some(port) = criteria.destination_port {
            conditions.push(format!("destination port {port}"));
        }
        if let Some(protocol) = criteria.transport_protocol {
            conditions.push(format!("transport {protocol:?}"));
        }
        if !criteria.server_names.is_empty() {
            conditions.push(format!(
                "server name {}",
                criteria.server_names.join(" or ")
            ));
        }
        if !criteria.application_protocols.is_empty() {
            conditions.push(format!(
                "protocol {}",
                criteria.application_protocols.join(" or ")
            ));
        }
        let conditions = match conditions.is_empty() {
            true => "any connection".to_owned(),
            false => conditions.join(", "),
        };
        self.line(
            1,
            format_args!("filter chain {:?}: {conditions}", chain.name),
        );
        for filter in &chain.filters {
            match filter {
                NetworkFilter::TcpProxy(proxy) => {
                    self.line(2, format_args!("tcp_proxy {:?}", proxy.stat_prefix));
                    for cluster in &proxy.clusters {
                        self.cluster(3, &cluster.name, Some(cluster.weight));
                    }
                }
                NetworkFilter::HttpConnectionManager(manager) => self.http(manager),
                NetworkFilter::Echo => self.line(2, "echo"),
                NetworkFilter::DirectResponse(_) => self.line(2, "direct_response"),
                NetworkFilter::SniCluster => self.line(2, "sni_cluster"),
                NetworkFilter::SniDynamicForwardProxy(_) => {
                    self.line(2, "sni_dynamic_forward_proxy");
                }
                NetworkFilter::Rbac(rbac) => {
                    self.line(2, format_args!("rbac {:?}", rbac.stat_prefix));
                }
                NetworkFilter::ConnectionLimit(limit) => {
                    self.line(2, format_args!("connection_limit {:?}", limit.stat_prefix));
                }
                NetworkFilter::LocalRateLimit(limit) => {
                    self.line(2, format_args!("local_ratelimit {:?}", limit.stat_prefix));
                }
            }
        }
    }

    fn http(&mut self, manager: &HttpConnectionManager) {
        self.line(
            2,
            format_args!("HTTP connection manager {:?}", manager.stat_prefix),
        );
        match &manager.routes {
            RouteSource::Inline(routes) => self.routes(routes),
            RouteSource::Rds(name) => match self.snapshot.routes.get(name).map(Arc::clone) {
                Some(routes) => self.routes(&routes),
                None => self.line(3, format_args!("route configuration {name:?}: not known")),
            },
        }
    }

    fn routes(&mut self, routes: &RouteConfiguration) {
        self.line(3, format_args!("route configuration {:?}", routes.name));
        for host in &routes.virtual_hosts {
            let domains = host.domains.join(", ");
            self.line(4, format_args!("virtual host {:?}: {domains}", host.name));
            host.routes.iter().for_each(|route| self.route(route));
        }
    }

    fn route(&mut self, route: &Route) {
        let path = match &route.criteria.path {
            PathMatch::Prefix(prefix) => format!("prefix {prefix}"),
            PathMatch::Path(path) => format!("path {path}"),
            PathMatch::PathSeparatedPrefix(prefix) => format!("path below {prefix}"),
            PathMatch::Regex(regex) => format!("regex {regex}"),
            PathMatch::Connect => "CONNECT".to_owned(),
        };
        let others = route.criteria.headers.len() + route.criteria.query.len();
        let others = match others {
            0 => String::new(),
            n => format!(", {n} conditions on headers or query"),
        };
        self.line(5, format_args!("route {:?}: {path}{others}", route.name));
        match &route.action {
            RouteAction::Forward(forward) => match &forward.target {
                ForwardTarget::Cluster(name) => self.cluster(6, name, None),
                ForwardTarget::ClusterHeader(header) => {
                    self.line(6, format_args!("the cluster that header {header} names"));
                }
                ForwardTarget::Weighted { clusters, .. } => {
                    for cluster in clusters {
                        self.cluster(6, &cluster.name, Some(cluster.weight));
                    }
                }
            },
            RouteAction::Redirect(redirect) => {
                self.line(6, format_args!("redirect, status {}", redirect.status));
            }
            RouteAction::DirectResponse { status, .. } => {
                self.line(6, format_args!("direct response, status {status}"));
            }
        }
    }

    fn cluster(&mut self, depth: usize, name: &str, weight: Option<u32>) {
        let weight = weight.map_or_else(String::new, |weight| format!(" (weight {weight})"));
        let Some(cluster) = self.snapshot.clusters.get(name) else {
            self.line(depth, format_args!("cluster {name:?}{weight}: not known"));
            return;
        };
        let kind = match &cluster.discovery {
            ClusterDiscovery::Static(_) => "STATIC",
            ClusterDiscovery::Eds(_) => "EDS",
            ClusterDiscovery::Dns(dns) => match dns.endpoints {
                DnsEndpoints::Each => "STRICT_DNS",
                DnsEndpoints::Single => "LOGICAL_DNS",
            },
            ClusterDiscovery::Aggregate(_) => "aggregate",
            ClusterDiscovery::ForwardProxy(_) => "dynamic forward proxy",
            ClusterDiscovery::OriginalDst => "ORIGINAL_DST",
        };
        self.line(depth, format_args!("cluster {name:?}{weight}: {kind}"));
        if let ClusterDiscovery::Aggregate(names) = &cluster.discovery {
            self.line(depth + 1, format_args!("of clusters {names:?}"));
            return;
        }
        if cluster.forward_proxy().is_some() {
            self.line(depth + 1, "endpoint: the name that is asked for");
            return;
        }
        self.endpoints(depth + 1, cluster);
    }

    fn endpoints(&mut self, depth: usize, cluster: &Arc<Cluster>) {
        if matches!(cluster.discovery, ClusterDiscovery::OriginalDst) {
            let destination = self.destination;
            self.line(
                depth,
                format_args!("endpoint {destination}: the destination"),
            );
            return;
        }
        let snapshot = self.snapshot;
        let Some(assignment) = endpoints_of(cluster, snapshot) else {
            self.line(depth, "endpoints: not known");
            return;
        };
        if assignment.endpoints().next().is_none() {
            self.line(depth, "no endpoints");
        }
        let learnt = self.healths.known(cluster);
        for endpoint in assignment.endpoints() {
            let learnt = learnt
                .as_ref()
                .and_then(|learnt| learnt.host(endpoint.address));
            let has = |flag| {
                learnt
                    .as_ref()
                    .is_some_and(|learnt| learnt.flags().has(flag))
            };
            let ejected = if has(HealthFlags::FAILED_ACTIVE_HC) {
                ", not known to be healthy by its health checks"
            } else if has(HealthFlags::FAILED_OUTLIER_CHECK) {
                ", ejected as an outlier"
            } else {
                ""
            };
            let health = match endpoint.health {
                HealthStatus::Healthy => "healthy",
                HealthStatus::Degraded => "degraded",
                HealthStatus::Unhealthy => "unhealthy",
                HealthStatus::Draining => "draining",
            };
            self.line(
                depth,
                format_args!("endpoint {}: {health}{ejected}", endpoint.address),
            );
        }
    }
}

/// The listener whose socket takes such a connection: the one of that address, else the captured
/// traffic's of that direction and family.
fn accepting(
    snapshot: &Snapshot,
    destination: SocketAddr,
    direction: TrafficDirection,
) -> Option<&Listener> {
    let listeners = || snapshot.listeners.values().map(|bound| &*bound.listener);
    let exact = listeners().find(|listener| listener.address == destination);
    let captured = |listener: &&Listener| {
        listener.direction == direction && listener.address.is_ipv4() == destination.is_ipv4()
    };
    exact
        .or_else(|| listeners().find(captured))
        .or_else(|| listeners().find(|listener| listener.use_original_dst))
}

/// Whether the chain may serve a connection to `destination`; the rest depends on its bytes.
fn may_serve(chain: &FilterChain, destination: SocketAddr) -> bool {
    let criteria = &chain.criteria;
    let port = criteria
        .destination_port
        .is_none_or(|port| port == destination.port());
    let ranges = &criteria.prefix_ranges;
    port && (ranges.is_empty() || ranges.iter().any(|range| range.contains(&destination.ip())))
}
