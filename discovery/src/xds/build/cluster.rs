//! Outbound clusters.

use std::{collections::HashMap, time::Duration};

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            cluster::v3::{
                CircuitBreakers, Cluster,
                circuit_breakers::Thresholds,
                cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy},
            },
            core::v3::Http2ProtocolOptions,
            endpoint::v3::ClusterLoadAssignment,
        },
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{
                ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
                explicit_http_config::ProtocolConfig,
            },
        },
    },
    google::protobuf::Any,
};

use super::{ads, duration, http, wrapped};
use crate::{
    model::{Protocol, SessionAffinity},
    xds::LoadBalancer,
};

/// Bound of one dial.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Key of the HTTP options among the extension protocol options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The cluster of a service port. Its endpoints come apart from it, because they change more often.
pub(in crate::xds) fn of_service(
    name: &str,
    protocol: Protocol,
    load_balancer: LoadBalancer,
    affinity: SessionAffinity,
) -> Cluster {
    let lb_policy = match affinity {
        SessionAffinity::None => lb_policy(load_balancer),
        // The hash is that of the client's address: see the routes and the TCP proxies.
        SessionAffinity::ClientIp => LbPolicy::RingHash,
    };
    Cluster {
        lb_policy: lb_policy.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: String::new(),
        }),
        ..outbound(name, protocol)
    }
}

/// The cluster of a single endpoint, which is in it.
pub(in crate::xds) fn of_endpoint(
    name: &str,
    protocol: Protocol,
    assignment: ClusterLoadAssignment,
) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        load_assignment: Some(assignment),
        ..outbound(name, protocol)
    }
}

/// What all clusters have in common.
pub(super) fn outbound(name: &str, protocol: Protocol) -> Cluster {
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        circuit_breakers: Some(unlimited()),
        typed_extension_protocol_options: http_options(protocol)
            .map(|options| extension_options(&options))
            .unwrap_or_default(),
        ..Cluster::default()
    }
}

/// What a cluster says of HTTP.
pub(in crate::xds) fn extension_options(options: &HttpProtocolOptions) -> HashMap<String, Any> {
    let options = codec::pack_http_protocol_options(options);
    HashMap::from([(HTTP_OPTIONS.to_owned(), options)])
}

fn lb_policy(load_balancer: LoadBalancer) -> LbPolicy {
    match load_balancer {
        LoadBalancer::LeastRequest => LbPolicy::LeastRequest,
        LoadBalancer::RoundRobin => LbPolicy::RoundRobin,
        LoadBalancer::Random => LbPolicy::Random,
    }
}

/// Envoy's defaults of 1024 are a limit that nobody set.
fn unlimited() -> CircuitBreakers {
    let most = || Some(wrapped(u32::MAX));
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: most(),
            max_pending_requests: most(),
            max_requests: most(),
            max_retries: most(),
            ..Thresholds::default()
        }],
        ..CircuitBreakers::default()
    }
}

/// What the client speaks is spoken with the endpoint, unless the port says that it is HTTP/2.
pub(in crate::xds) fn http_options(protocol: Protocol) -> Option<HttpProtocolOptions> {
    let options = match protocol {
        Protocol::Tcp | Protocol::Tls => return None,
        Protocol::Http2 => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(
                Http2ProtocolOptions::default(),
            )),
        }),
        Protocol::Http | Protocol::Auto => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(http::http1()),
                http2_protocol_options: Some(Http2ProtocolOptions::default()),
                ..UseDownstreamHttpConfig::default()
            })
        }
    };
    Some(HttpProtocolOptions {
        upstream_protocol_options: Some(options),
        ..HttpProtocolOptions::default()
    })
}
