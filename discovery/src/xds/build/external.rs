//! What clusters of hosts that rules declare lead to.

use std::time::Duration;

use weir_api::xds::{
    envoy::config::{
        cluster::v3::{
            Cluster,
            cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily},
        },
        endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints},
    },
    google::protobuf::UInt32Value,
};

use super::{duration, endpoint};
use crate::model::{
    Balancing, EndpointPlace, EntryEndpoint, EntryPort, Labels, Resolution, ServiceEntry,
};

/// How often names are looked up whose answers say nothing of it, as in Istio.
const REFRESH: Duration = Duration::from_secs(60);

/// The cluster of a port of a host leads to what its rule says; of a group of endpoints, to those with
/// these labels. Returned is how that is chosen, if there is no choice.
pub(in crate::xds) fn place(
    message: &mut Cluster,
    entry: &ServiceEntry,
    host: &str,
    number: u16,
    labels: Option<&Labels>,
) -> Option<Balancing> {
    let kind = match entry.resolution {
        Resolution::None => return Some(Balancing::Passthrough),
        Resolution::Static => return None,
        Resolution::Dns => DiscoveryType::StrictDns,
        Resolution::DnsRoundRobin => DiscoveryType::LogicalDns,
    };
    let Some(port) = entry.ports.iter().find(|it| it.port == number) else {
        return None;
    };
    let own = [EntryEndpoint {
        place: EndpointPlace::Name(host.into()),
        ports: Default::default(),
        labels: Default::default(),
        locality: Default::default(),
        weight: 1,
    }];
    let all = match entry.endpoints.is_empty() {
        true => &own[..],
        false => &entry.endpoints,
    };
    let has = |it: &EntryEndpoint, labels: &Labels| {
        let mut asked = labels.iter();
        asked.all(|(key, value)| it.labels.get(key) == Some(value))
    };
    let fitting = all.iter().filter(|it| labels.is_none_or(|labels| has(it, labels)));
    let fitting: Vec<_> = match kind {
        // It takes one.
        DiscoveryType::LogicalDns => fitting.take(1).collect(),
        _ => fitting.collect(),
    };
    let kind = match fitting.is_empty() {
        true => DiscoveryType::Static,
        false => kind,
    };
    message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
    message.eds_cluster_config = None;
    if kind != DiscoveryType::Static {
        looked_up(message);
    }
    message.load_assignment = Some(assignment(&message.name, port, fitting));
    None
}

/// In the cluster's own fields, which Envoy takes as it does those of `DnsCluster`.
#[expect(deprecated)]
fn looked_up(message: &mut Cluster) {
    message.dns_lookup_family = DnsLookupFamily::V4Preferred.into();
    message.respect_dns_ttl = true;
    message.dns_refresh_rate = Some(duration(REFRESH));
}

fn assignment(
    cluster: &str,
    port: &EntryPort,
    mut endpoints: Vec<&EntryEndpoint>,
) -> ClusterLoadAssignment {
    endpoints.sort_by(|one, other| one.locality.cmp(&other.locality));
    let localities = endpoints.chunk_by(|one, other| one.locality == other.locality);
    let localities = localities.map(|all| {
        let weights = all.iter().map(|it| it.weight);
        LocalityLbEndpoints {
            locality: endpoint::locality(&all[0].locality),
            load_balancing_weight: Some(UInt32Value {
                value: weights.fold(0, u32::saturating_add),
            }),
            lb_endpoints: all.iter().map(|it| at(it, port)).collect(),
            ..LocalityLbEndpoints::default()
        }
    });
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: localities.collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn at(said: &EntryEndpoint, port: &EntryPort) -> LbEndpoint {
    let number = said.port(port);
    let address = match &said.place {
        EndpointPlace::Address(address) => super::address((*address, number).into()),
        EndpointPlace::Name(name) => super::named(name, number),
    };
    endpoint::weighted(address, said.weight)
}
