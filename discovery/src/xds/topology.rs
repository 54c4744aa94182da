//! Which endpoints of a port a client uses, given where it is: what kube-proxy decides for clients
//! without a sidecar.

use std::sync::Arc;

use super::{Client, View};
use crate::model::{
    Endpoint, InternalTrafficPolicy, Readiness, ResolvedService, Snapshot, TrafficDistribution,
};

/// What of a client's place matters to the endpoints of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matters {
    Nothing,
    Zone,
    Node,
}

/// The view of a client of the endpoints of a port.
pub(super) fn view(
    snapshot: &Snapshot,
    service: &ResolvedService,
    endpoints: &[Endpoint],
    client: &Client,
) -> View {
    let node = || {
        let pods = client.addresses.iter();
        let pod = pods.filter_map(|address| snapshot.pod(*address)).next();
        let of_pod = || pod.and_then(|pod| pod.node.clone());
        client.node.clone().or_else(of_pod)
    };
    match matters(service, endpoints) {
        Matters::Nothing => View::Everyone,
        Matters::Node => node().map_or(View::Everyone, View::Node),
        Matters::Zone => node()
            .and_then(|node| zone(snapshot, &node))
            .map_or(View::Everyone, View::Zone),
    }
}

/// Whether it matters to any port of a service where a client is.
pub(super) fn is_local(service: &ResolvedService) -> bool {
    let mut ports = service.ports();
    ports.any(|(_, endpoints)| matters(service, endpoints) != Matters::Nothing)
}

/// The endpoints that clients of a view use, in the order of their addresses.
pub(super) fn endpoints<'a>(
    snapshot: &Snapshot,
    service: &ResolvedService,
    mut endpoints: Vec<&'a Endpoint>,
    view: &View,
) -> Vec<&'a Endpoint> {
    let (node, zone) = match view {
        View::Subset(labels, place) => {
            endpoints.retain(|it| it.has(labels));
            return self::endpoints(snapshot, service, endpoints, place);
        }
        View::Everyone | View::MutualTls(_) | View::Sidecar(_) => (None, None),
        View::Caller(_) | View::Outside(..) => (None, None),
        View::Zone(zone) => (None, Some(zone.clone())),
        View::Node(node) => (Some(node), zone(snapshot, node)),
    };
    let (node, zone) = (node.map(|node| &**node), zone.as_deref());
    let only_local = service.service.internal_traffic_policy == InternalTrafficPolicy::Local;
    if let Some(node) = node.filter(|_| only_local) {
        // Only those there are, even if there is none.
        endpoints.retain(|it| it.node.as_deref() == Some(node));
        return usable(endpoints);
    }
    let usable = usable(endpoints);
    let distribution = service.service.traffic_distribution;
    near(&usable, distribution, node, zone).unwrap_or(usable)
}

/// Those near the client, if there are any and all of them say whom they are meant for.
fn near<'a>(
    usable: &[&'a Endpoint],
    distribution: TrafficDistribution,
    node: Option<&str>,
    zone: Option<&str>,
) -> Option<Vec<&'a Endpoint>> {
    if usable.iter().any(|it| it.readiness != Readiness::Ready) {
        return None;
    }
    let has = |names: &[Arc<str>], name: &str| names.iter().any(|it| **it == *name);
    let all = |is: fn(&Endpoint) -> bool| usable.iter().all(|it| is(it));
    let pick = |is: &dyn Fn(&Endpoint) -> bool| {
        let picked: Vec<_> = usable.iter().copied().filter(|it| is(it)).collect();
        (!picked.is_empty()).then_some(picked)
    };
    let hinted_nodes = all(|it| !it.hints.nodes.is_empty());
    let hinted_zones = all(|it| !it.hints.zones.is_empty());
    let unhinted = all(|it| it.hints.nodes.is_empty() && it.hints.zones.is_empty());
    let of_node = || {
        let node = node?;
        if hinted_nodes {
            return pick(&|it| has(&it.hints.nodes, node));
        }
        let wanted = unhinted && distribution == TrafficDistribution::PreferSameNode;
        wanted.then(|| pick(&|it| it.node.as_deref() == Some(node)))?
    };
    let of_zone = || {
        let zone = zone?;
        if hinted_zones {
            return pick(&|it| has(&it.hints.zones, zone));
        }
        let wanted = unhinted && distribution != TrafficDistribution::Any;
        wanted.then(|| pick(&|it| *it.locality.zone == *zone))?
    };
    of_node().or_else(of_zone)
}

fn usable(endpoints: Vec<&Endpoint>) -> Vec<&Endpoint> {
    let is_ready = |it: &&Endpoint| it.readiness == Readiness::Ready;
    let best = if endpoints.iter().any(is_ready) {
        Readiness::Ready
    } else {
        Readiness::Draining
    };
    let mut endpoints = endpoints;
    endpoints.retain(|it| it.readiness == best);
    endpoints
}

/// Hints count only if all endpoints have them, so that one tells of all.
fn matters(service: &ResolvedService, endpoints: &[Endpoint]) -> Matters {
    let declared = &service.service;
    let hints = ResolvedService::usable(endpoints)
        .next()
        .map(|it| &it.hints);
    let has_nodes = hints.is_some_and(|hints| !hints.nodes.is_empty());
    let has_zones = hints.is_some_and(|hints| !hints.zones.is_empty());
    let only_local = declared.internal_traffic_policy == InternalTrafficPolicy::Local;
    match declared.traffic_distribution {
        _ if only_local || has_nodes => Matters::Node,
        TrafficDistribution::PreferSameNode => Matters::Node,
        TrafficDistribution::PreferSameZone => Matters::Zone,
        TrafficDistribution::Any if has_zones => Matters::Zone,
        TrafficDistribution::Any => Matters::Nothing,
    }
}

fn zone(snapshot: &Snapshot, node: &Arc<str>) -> Option<Arc<str>> {
    let zone = snapshot.node(node)?.locality.zone.clone();
    (!zone.is_empty()).then_some(zone)
}
