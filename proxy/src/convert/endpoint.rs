//! Endpoints of a cluster.

use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use serde_json::{Map, Value};
use weir_api::{
    workload::Workload,
    xds::{
        LAST_RESORT,
        envoy::config::{
            core::v3::{HealthStatus as PbHealthStatus, Locality, Metadata},
            endpoint::v3 as pb,
        },
        google::protobuf::value,
        on_demand, peer,
    },
};

use super::{
    at::{At, take},
    percent::percent,
    subset::lb_metadata,
    value::{address, enumeration, header_value, json_object, named_address, non_empty, number},
};
use crate::{
    config::{
        dns::DnsTarget,
        endpoint::{
            Endpoint, HealthCheckConfig, HealthStatus, LoadAssignment, LocalityEndpoints, Policy,
        },
    },
    runtime::FractionalPercent,
};

/// Envoy's bound.
const MAX_PRIORITY: u32 = 128;

/// Who the endpoints of an assignment are.
enum Targets<'t> {
    /// Addresses.
    Addresses,
    /// Names, or addresses; they are put here.
    Names(&'t mut Vec<DnsTarget>),
}

/// An assignment of addresses.
pub(super) fn load_assignment(at: &At<'_>, message: pb::ClusterLoadAssignment) -> LoadAssignment {
    assignment(at, message, &mut Targets::Addresses)
}

/// An assignment of names: its localities, without endpoints, and what is in them.
pub(super) fn named_assignment(
    at: &At<'_>,
    message: pb::ClusterLoadAssignment,
) -> (LoadAssignment, Vec<DnsTarget>) {
    let mut targets = Vec::new();
    let localities = assignment(at, message, &mut Targets::Names(&mut targets));
    (localities, targets)
}

fn assignment(
    at: &At<'_>,
    message: pb::ClusterLoadAssignment,
    targets: &mut Targets<'_>,
) -> LoadAssignment {
    take!(at, message => pb::ClusterLoadAssignment {
        supported: cluster_name, endpoints, policy;
        refused: named_endpoints;
    });
    let at_endpoints = at.field("endpoints");
    check_locality_weights(&at_endpoints, &endpoints);
    let localities = endpoints.into_iter().enumerate();
    LoadAssignment {
        cluster_name: non_empty(&at.field("cluster_name"), cluster_name),
        localities: localities
            .map(|(index, message)| {
                locality_endpoints(&at_endpoints.index(index), message, (index, &mut *targets))
            })
            .collect(),
        policy: policy.map_or_else(Policy::default, |message| {
            self::policy(&at.field("policy"), message)
        }),
    }
}

/// Envoy's bound: the weights of the localities of a priority fit in 32 bits together.
fn check_locality_weights(at: &At<'_>, localities: &[pb::LocalityLbEndpoints]) {
    let mut sums = BTreeMap::<u32, u64>::new();
    for locality in localities {
        let weight = locality.load_balancing_weight.map_or(0, |it| it.value);
        *sums.entry(locality.priority).or_default() += u64::from(weight);
    }
    let large = sums.into_iter().find(|(_, sum)| *sum > u64::from(u32::MAX));
    if let Some((priority, sum)) = large {
        at.error(format!(
            "{sum} as the sum of weights of localities of priority {priority}: must be at most {}",
            u32::MAX
        ));
    }
}

/// Of an address that is listed more than once the first entry counts, as in Envoy of what EDS says.
pub(super) fn without_duplicates(mut assignment: LoadAssignment) -> LoadAssignment {
    let mut known = HashSet::new();
    for locality in &mut assignment.localities {
        let endpoints = &mut locality.endpoints;
        endpoints.retain(|endpoint| known.insert(endpoint.address));
    }
    assignment
}

fn policy(at: &At<'_>, message: pb::cluster_load_assignment::Policy) -> Policy {
    take!(at, message => pb::cluster_load_assignment::Policy {
        supported: overprovisioning_factor, weighted_priority_health, drop_overloads;
        refused: endpoint_stale_after;
    });
    let at_factor = at.field("overprovisioning_factor");
    let factor = number(&at_factor, overprovisioning_factor, 1..=u32::MAX);
    Policy {
        overprovisioning_factor: factor.unwrap_or(Policy::default().overprovisioning_factor),
        weighted_priority_health,
        drop_overload: drop_overload(&at.field("drop_overloads"), drop_overloads),
    }
}

/// Of one category, as in Envoy.
fn drop_overload(
    at: &At<'_>,
    messages: Vec<pb::cluster_load_assignment::policy::DropOverload>,
) -> Option<FractionalPercent> {
    if messages.len() > 1 {
        at.error(format!("{} entries: must have one at most", messages.len()));
    }
    let message = messages.into_iter().next()?;
    let at = at.index(0);
    take!(at, message => pb::cluster_load_assignment::policy::DropOverload {
        supported: category, drop_percentage;
    });
    non_empty(&at.field("category"), category);
    let at = at.field("drop_percentage");
    let share = percent(&at, drop_percentage?)?;
    (share.numerator > 0).then_some(share)
}

fn locality_endpoints(
    at: &At<'_>,
    message: pb::LocalityLbEndpoints,
    (locality_index, targets): (usize, &mut Targets<'_>),
) -> LocalityEndpoints {
    take!(at, message => pb::LocalityLbEndpoints {
        supported: locality, lb_endpoints, load_balancing_weight, priority, metadata;
        refused: proximity, lb_config;
    });
    if priority > MAX_PRIORITY {
        at.field("priority")
            .error(format!("{priority}: must be at most {MAX_PRIORITY}"));
    }
    let Locality {
        region,
        zone,
        sub_zone,
    } = locality.unwrap_or_default();
    let of_locality = transport_socket_match(metadata.as_ref());
    let at_endpoints = at.field("lb_endpoints");
    let (endpoints, names): (Vec<_>, Vec<_>) = lb_endpoints
        .into_iter()
        .enumerate()
        .filter_map(|(index, message)| {
            let names = matches!(targets, Targets::Names(_));
            let (mut endpoint, name) = endpoint(&at_endpoints.index(index), message, names)?;
            let own = endpoint.transport_socket_match.take();
            endpoint.transport_socket_match = own.or_else(|| of_locality.clone());
            Some((endpoint, name))
        })
        .unzip();
    let sum: u64 = endpoints
        .iter()
        .map(|endpoint| u64::from(endpoint.weight))
        .sum();
    if sum > u64::from(u32::MAX) {
        at_endpoints.unsupported(format!("{sum} as the sum of weights"));
    }
    let endpoints = match targets {
        Targets::Addresses => endpoints.into_iter().map(Arc::new).collect(),
        Targets::Names(targets) => {
            let named = names.into_iter().flatten().zip(endpoints);
            targets.extend(named.map(|(name, endpoint)| DnsTarget {
                name,
                locality: locality_index,
                endpoint,
            }));
            Vec::new()
        }
    };
    LocalityEndpoints {
        region,
        zone,
        sub_zone,
        priority,
        weight: number(
            &at.field("load_balancing_weight"),
            load_balancing_weight,
            1..=u32::MAX,
        )
        .unwrap_or(0),
        endpoints,
    }
}

/// An endpoint, and its name where it may have one.
fn endpoint(
    at: &At<'_>,
    message: pb::LbEndpoint,
    may_be_named: bool,
) -> Option<(Endpoint, Option<Box<str>>)> {
    use pb::lb_endpoint::HostIdentifier;

    take!(at, message => pb::LbEndpoint {
        supported: health_status, load_balancing_weight, metadata, host_identifier;
    });
    let (hash_key, last_resort) = (hash_key(metadata.as_ref()), last_resort(metadata.as_ref()));
    let transport_socket_match = transport_socket_match(metadata.as_ref());
    let lb_metadata = metadata.clone().and_then(|all| lb_metadata(Some(all)));
    let workload = metadata.as_ref().and_then(workload).map(Arc::new);
    let sidecar = metadata.is_some_and(has_sidecar);
    let weight = weight(at, load_balancing_weight);
    let health = enumeration(&at.field("health_status"), health_status);
    let message = match at.field("endpoint").required(host_identifier)? {
        HostIdentifier::Endpoint(message) => message,
        HostIdentifier::EndpointName(name) => {
            at.field("endpoint_name").unsupported(format!("{name:?}"));
            return None;
        }
    };
    let at = at.field("endpoint");
    take!(at, message => pb::Endpoint {
        supported: address, hostname, health_check_config;
        ignored: observability_name = "for people";
        refused: additional_addresses;
    });
    let at_address = at.field("address");
    let message = at_address.required(address)?;
    let (address, name) = if may_be_named {
        let (name, port) = named_address(&at_address, message)?;
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        (unknown, Some(name.into_boxed_str()))
    } else {
        (self::address(&at_address, message)?, None)
    };
    // As Envoy: what has no other name is called as what is looked up.
    let hostname = match &name {
        Some(name) if hostname.is_empty() => name.to_string(),
        _ => hostname,
    };
    let health_check = health_check_config.map(|message| {
        self::health_check_config(&at.field("health_check_config"), message, address)
    });
    let endpoint = Endpoint {
        address,
        hostname,
        health: match health? {
            PbHealthStatus::Unknown | PbHealthStatus::Healthy => HealthStatus::Healthy,
            PbHealthStatus::Degraded => HealthStatus::Degraded,
            PbHealthStatus::Unhealthy | PbHealthStatus::Timeout => HealthStatus::Unhealthy,
            PbHealthStatus::Draining => HealthStatus::Draining,
        },
        weight,
        hash_key,
        last_resort,
        sidecar,
        workload,
        addresses: None,
        transport_socket_match,
        lb_metadata: lb_metadata.filter(|all| !all.is_empty()).map(Arc::new),
        health_check: health_check.filter(|config| **config != HealthCheckConfig::default()),
    };
    Some((endpoint, name))
}

fn health_check_config(
    at: &At<'_>,
    message: pb::endpoint::HealthCheckConfig,
    endpoint: SocketAddr,
) -> Box<HealthCheckConfig> {
    take!(at, message => pb::endpoint::HealthCheckConfig {
        supported: port_value, hostname, address, disable_active_health_check;
    });
    let port = u16::try_from(port_value).unwrap_or_else(|_| {
        at.field("port_value")
            .error(format!("{port_value}: must be at most 65535"));
        0
    });
    let mut checked = address
        .and_then(|message| self::address(&at.field("address"), message))
        .unwrap_or(endpoint);
    if port != 0 {
        checked.set_port(port);
    }
    Box::new(HealthCheckConfig {
        address: (checked != endpoint).then_some(checked),
        hostname: header_value(&at.field("hostname"), hostname),
        disable_active_health_check,
    })
}

fn last_resort(metadata: Option<&Metadata>) -> bool {
    let of_ours = metadata.and_then(|all| all.filter_metadata.get(on_demand::METADATA_NAMESPACE));
    let value = of_ours.and_then(|ours| ours.fields.get(LAST_RESORT)?.kind.as_ref());
    matches!(value, Some(value::Kind::BoolValue(true)))
}

/// What chooses among the transport sockets of a cluster.
fn transport_socket_match(metadata: Option<&Metadata>) -> Option<Arc<Map<String, Value>>> {
    let said = metadata?
        .filter_metadata
        .get("envoy.transport_socket_match")?;
    Some(Arc::new(json_object(said.clone())))
}

/// Envoy's key for an endpoint's place on a hash ring. An empty one is none.
fn hash_key(metadata: Option<&Metadata>) -> Option<Box<str>> {
    let of_balancers = metadata?.filter_metadata.get("envoy.lb")?;
    match of_balancers.fields.get("hash_key")?.kind.as_ref()? {
        value::Kind::StringValue(key) if !key.is_empty() => Some(key.as_str().into()),
        _ => None,
    }
}

/// Who is behind an endpoint.
fn workload(metadata: &Metadata) -> Option<Workload> {
    let ours = metadata
        .filter_metadata
        .get(on_demand::METADATA_NAMESPACE)?;
    Workload::of_fields(|field| match ours.fields.get(field)?.kind.as_ref()? {
        value::Kind::StringValue(text) => Some(text),
        _ => None,
    })
}

/// Whether the metadata says that a sidecar stands before the endpoint.
fn has_sidecar(mut metadata: Metadata) -> bool {
    let ours = metadata
        .filter_metadata
        .remove(on_demand::METADATA_NAMESPACE);
    let said = ours.and_then(|mut ours| ours.fields.remove(peer::SIDECAR));
    let yes = value::Kind::StringValue(peer::SIDECAR_YES.to_owned());
    said.and_then(|said| said.kind) == Some(yes)
}

fn weight(at: &At<'_>, value: Option<weir_api::xds::google::protobuf::UInt32Value>) -> u32 {
    number(&at.field("load_balancing_weight"), value, 1..=u32::MAX).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn of_an_address_that_is_listed_twice_the_first_entry_counts() {
        let endpoint = |port, weight| Endpoint {
            weight,
            ..Endpoint::at(SocketAddr::from(([10, 0, 0, 1], port)))
        };
        let locality = |endpoints: Vec<Endpoint>| LocalityEndpoints {
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
            ..LocalityEndpoints::default()
        };
        let assignment = LoadAssignment {
            localities: vec![
                locality(vec![endpoint(1, 5), endpoint(1, 7)]),
                locality(vec![endpoint(2, 1), endpoint(1, 9)]),
            ],
            ..LoadAssignment::default()
        };
        let kept = without_duplicates(assignment);
        let kept: Vec<(u16, u32)> = kept
            .endpoints()
            .map(|endpoint| (endpoint.address.port(), endpoint.weight))
            .collect();
        assert_eq!(kept, [(1, 5), (2, 1)]);
    }
}
