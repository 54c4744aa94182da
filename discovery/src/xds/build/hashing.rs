//! Clusters whose endpoints are chosen by a hash.

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            cluster::v3::{
                Cluster, LoadBalancingPolicy,
                cluster::{LbConfig, LbPolicy, MaglevLbConfig, RingHashLbConfig},
                load_balancing_policy::Policy,
            },
            core::v3::TypedExtensionConfig,
            route::v3::route_action::{
                HashPolicy,
                hash_policy::{Cookie, Header, PolicySpecifier, QueryParameter},
            },
        },
        extensions::load_balancing_policies::{
            common::v3::ConsistentHashingLbConfig, maglev::v3::Maglev, ring_hash::v3::RingHash,
        },
    },
    google::protobuf::UInt64Value,
};

use super::duration;
use crate::model::{HashKey, HashTable, Hashing};

const RING_HASH: &str = "envoy.load_balancing_policies.ring_hash";
const MAGLEV: &str = "envoy.load_balancing_policies.maglev";

/// The endpoints of the cluster are chosen by this hash.
pub(super) fn balance(message: &mut Cluster, hashing: &Hashing) {
    match policy(&hashing.key) {
        // Routes and TCP proxies say that the caller's address is hashed.
        None => by_source(message, hashing.table),
        Some(policy) => {
            message.lb_policy = LbPolicy::RoundRobin.into();
            message.load_balancing_policy = Some(by_request(policy, hashing.table));
        }
    }
}

fn by_source(message: &mut Cluster, table: HashTable) {
    let (policy, config) = match table {
        HashTable::Ring { minimum_size } => {
            let config = minimum_size.map(|value| {
                LbConfig::RingHashLbConfig(RingHashLbConfig {
                    minimum_ring_size: Some(UInt64Value { value }),
                    ..RingHashLbConfig::default()
                })
            });
            (LbPolicy::RingHash, config)
        }
        HashTable::Maglev { size } => {
            let config = size.map(|value| {
                LbConfig::MaglevLbConfig(MaglevLbConfig {
                    table_size: Some(UInt64Value { value }),
                })
            });
            (LbPolicy::Maglev, config)
        }
    };
    (message.lb_policy, message.lb_config) = (policy.into(), config);
}

/// Of the cluster rather than of routes, since each cluster that a route names may hash something else.
fn by_request(policy: HashPolicy, table: HashTable) -> LoadBalancingPolicy {
    let consistent_hashing_lb_config = Some(ConsistentHashingLbConfig {
        hash_policy: vec![policy],
        ..ConsistentHashingLbConfig::default()
    });
    let (name, config) = match table {
        HashTable::Ring { minimum_size } => {
            let message = RingHash {
                minimum_ring_size: minimum_size.map(|value| UInt64Value { value }),
                consistent_hashing_lb_config,
                ..RingHash::default()
            };
            (RING_HASH, codec::pack_ring_hash(&message))
        }
        HashTable::Maglev { size } => {
            let message = Maglev {
                table_size: size.map(|value| UInt64Value { value }),
                consistent_hashing_lb_config,
                ..Maglev::default()
            };
            (MAGLEV, codec::pack_maglev(&message))
        }
    };
    LoadBalancingPolicy {
        policies: vec![Policy {
            typed_extension_config: Some(TypedExtensionConfig {
                name: name.to_owned(),
                typed_config: Some(config),
            }),
        }],
    }
}

/// None for what is no part of a request.
fn policy(key: &HashKey) -> Option<HashPolicy> {
    let specifier = match key {
        HashKey::SourceIp => return None,
        HashKey::Header(name) => PolicySpecifier::Header(Header {
            header_name: name.to_string(),
            regex_rewrite: None,
        }),
        HashKey::QueryParameter(name) => PolicySpecifier::QueryParameter(QueryParameter {
            name: name.to_string(),
        }),
        HashKey::Cookie { name, path, ttl } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            ttl: ttl.map(duration),
            path: path.to_string(),
            attributes: Vec::new(),
        }),
    };
    Some(HashPolicy {
        policy_specifier: Some(specifier),
        terminal: false,
    })
}
