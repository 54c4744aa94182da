//! What rules about the other end of calls make of a cluster.

use weir_api::xds::envoy::{
    config::{
        cluster::v3::{
            Cluster, OutlierDetection as Outliers, UpstreamConnectionOptions,
            cluster::{
                ClusterDiscoveryType, CommonLbConfig, DiscoveryType, LbConfig, LbPolicy,
                RingHashLbConfig,
            },
        },
        core::v3::{HttpProtocolOptions, TcpKeepalive},
    },
    extensions::upstreams::http::v3::{
        HttpProtocolOptions as Options,
        http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
    },
    r#type::v3::Percent,
};
use weir_api::xds::google::protobuf::UInt64Value;

use super::{cluster::extension_options, duration, wrapped};
use crate::model::{
    Balancing, HttpPool, Keepalive, OutlierDetection, Protocol, SessionAffinity, SimpleBalancing,
    TcpPool, TrafficPolicy, UpstreamHttp,
};

/// What is spoken with the endpoints of a port: as the port says, if no rule says otherwise.
pub(in crate::xds) fn protocol(declared: Protocol, policy: &TrafficPolicy) -> Protocol {
    let version = policy.pool.as_ref().map(|pool| pool.http.version);
    match (declared, version) {
        (Protocol::Http, Some(UpstreamHttp::Http2)) => Protocol::Http2,
        (Protocol::Http2, Some(UpstreamHttp::AsClient)) => Protocol::Http,
        (declared, _) => declared,
    }
}

/// Whether a caller comes to the same endpoint each time: as the service says, if no rule says otherwise.
pub(in crate::xds) fn affinity(
    declared: SessionAffinity,
    policy: &TrafficPolicy,
) -> SessionAffinity {
    match policy.balancing {
        None => declared,
        Some(Balancing::SourceIp { .. }) => SessionAffinity::ClientIp,
        Some(Balancing::Simple(_) | Balancing::Passthrough) => SessionAffinity::None,
    }
}

/// The endpoints of the cluster are chosen as a rule says.
pub(in crate::xds) fn balance(message: &mut Cluster, balancing: Balancing) {
    match balancing {
        Balancing::Simple(policy) => {
            let policy = match policy {
                SimpleBalancing::RoundRobin => LbPolicy::RoundRobin,
                SimpleBalancing::LeastRequest => LbPolicy::LeastRequest,
                SimpleBalancing::Random => LbPolicy::Random,
            };
            message.lb_policy = policy.into();
        }
        Balancing::SourceIp { minimum_ring_size } => {
            message.lb_policy = LbPolicy::RingHash.into();
            message.lb_config = minimum_ring_size.map(|value| {
                LbConfig::RingHashLbConfig(RingHashLbConfig {
                    minimum_ring_size: Some(UInt64Value { value }),
                    ..RingHashLbConfig::default()
                })
            });
        }
        Balancing::Passthrough => {
            let original = DiscoveryType::OriginalDst;
            message.lb_policy = LbPolicy::ClusterProvided.into();
            message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(original.into()));
            message.eds_cluster_config = None;
            message.load_assignment = None;
        }
    }
}

/// The bounds of the cluster are those of rules. `options` are what it says of HTTP, if it does.
pub(in crate::xds) fn bound(
    message: &mut Cluster,
    options: Option<Options>,
    policy: &TrafficPolicy,
) {
    if let Some(pool) = &policy.pool {
        bound_connections(message, &pool.tcp);
        bound_requests(message, &pool.http);
        if let Some(options) = options {
            let options = http_options(options, &pool.http);
            message.typed_extension_protocol_options = extension_options(&options);
        }
    }
    let is_chosen = policy.balancing != Some(Balancing::Passthrough);
    if let Some(outliers) = policy.outliers.as_ref().filter(|_| is_chosen) {
        message.outlier_detection = Some(outlier_detection(outliers));
        message.common_lb_config = Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent {
                value: outliers.min_health_percent.into(),
            }),
            ..CommonLbConfig::default()
        });
    }
}

fn bound_connections(message: &mut Cluster, pool: &TcpPool) {
    if let Some(timeout) = pool.connect_timeout {
        message.connect_timeout = Some(duration(timeout));
    }
    message.upstream_connection_options = pool.keepalive.map(|keepalive| {
        let Keepalive {
            probes,
            time,
            interval,
        } = keepalive;
        UpstreamConnectionOptions {
            tcp_keepalive: Some(TcpKeepalive {
                keepalive_probes: probes.map(wrapped),
                keepalive_time: time.map(wrapped),
                keepalive_interval: interval.map(wrapped),
            }),
            ..UpstreamConnectionOptions::default()
        }
    });
    let thresholds = message.circuit_breakers.iter_mut();
    for thresholds in thresholds.flat_map(|it| &mut it.thresholds) {
        thresholds.max_connections = pool
            .max_connections
            .map(wrapped)
            .or(thresholds.max_connections);
    }
}

fn bound_requests(message: &mut Cluster, pool: &HttpPool) {
    let thresholds = message.circuit_breakers.iter_mut();
    for it in thresholds.flat_map(|it| &mut it.thresholds) {
        it.max_pending_requests = pool.max_pending.map(wrapped).or(it.max_pending_requests);
        it.max_requests = pool.max_requests.map(wrapped).or(it.max_requests);
        it.max_retries = pool.max_retries.map(wrapped).or(it.max_retries);
    }
}

fn http_options(mut options: Options, pool: &HttpPool) -> Options {
    if pool.idle_timeout.is_some() || pool.max_per_connection.is_some() {
        options.common_http_protocol_options = Some(HttpProtocolOptions {
            idle_timeout: pool.idle_timeout.map(duration),
            max_requests_per_connection: pool.max_per_connection.map(wrapped),
            ..HttpProtocolOptions::default()
        });
    }
    let http2 = match &mut options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(it)) => {
            it.http2_protocol_options.as_mut()
        }
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(it)) => match &mut it.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(it)) => Some(it),
            _ => None,
        },
        _ => None,
    };
    if let Some(http2) = http2 {
        http2.max_concurrent_streams = pool.max_streams.map(wrapped);
    }
    options
}

/// As Istio has it: a rule that is said is enforced, and one of zero errors never; success rates are not
/// looked at.
fn outlier_detection(said: &OutlierDetection) -> Outliers {
    let enforced = |count: Option<u32>| count.map(|it| wrapped(if it > 0 { 100 } else { 0 }));
    let local = said.consecutive_local.filter(|_| said.splits_local);
    Outliers {
        consecutive_5xx: said.consecutive_5xx.map(wrapped),
        enforcing_consecutive_5xx: enforced(said.consecutive_5xx),
        consecutive_gateway_failure: said.consecutive_gateway.map(wrapped),
        enforcing_consecutive_gateway_failure: enforced(said.consecutive_gateway),
        split_external_local_origin_errors: said.splits_local,
        consecutive_local_origin_failure: local.map(wrapped),
        enforcing_consecutive_local_origin_failure: enforced(local),
        enforcing_local_origin_success_rate: said.splits_local.then(|| wrapped(0)),
        enforcing_success_rate: Some(wrapped(0)),
        interval: said.interval.map(duration),
        base_ejection_time: said.base_ejection_time.map(duration),
        max_ejection_percent: said.max_ejection_percent.map(wrapped),
        ..Outliers::default()
    }
}
