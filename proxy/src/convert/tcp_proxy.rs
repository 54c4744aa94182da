//! The TCP proxy.

use std::time::Duration;

use weir_api::xds::envoy::extensions::filters::network::tcp_proxy::v3 as pb;

use super::{
    access_log::access_logs,
    at::{At, take},
    hash,
    subset::metadata_match,
    value::{non_empty, number, timeout},
};
use crate::config::{
    access_log::AccessLogOptions,
    listener::{TcpProxy, WeightedCluster},
    subset::MetadataMatch,
};

/// Envoy's default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn tcp_proxy(at: &At<'_>, message: pb::TcpProxy) -> TcpProxy {
    take!(at, message => pb::TcpProxy {
        supported: stat_prefix, idle_timeout, access_log, max_connect_attempts, hash_policy,
            cluster_specifier, metadata_match, flush_access_log_on_connected, access_log_options;
        refused: on_demand, downstream_idle_timeout, upstream_idle_timeout,
            backoff_options, tunneling_config, max_downstream_connection_duration,
            max_downstream_connection_duration_jitter_percentage, access_log_flush_interval,
            proxy_protocol_tlvs,
            proxy_protocol_tlv_merge_policy, upstream_connect_mode, max_early_data_bytes,
            check_drain_close;
    });
    let metadata_match = self::metadata_match(metadata_match, None);
    TcpProxy {
        stat_prefix: non_empty(&at.field("stat_prefix"), stat_prefix),
        clusters: clusters(at, cluster_specifier, metadata_match.as_ref()),
        metadata_match,
        idle_timeout: timeout(&at.field("idle_timeout"), idle_timeout, Some(IDLE_TIMEOUT)),
        max_connect_attempts: number(
            &at.field("max_connect_attempts"),
            max_connect_attempts,
            1..=u32::MAX,
        )
        .unwrap_or(1),
        hash_policy: hash::of_tcp(&at.field("hash_policy"), hash_policy),
        access_logs: access_logs(&at.field("access_log"), access_log),
        access_log_options: options(
            &at.field("access_log_options"),
            access_log_options,
            flush_access_log_on_connected,
        ),
    }
}

fn options(
    at: &At<'_>,
    message: Option<pb::tcp_proxy::TcpAccessLogOptions>,
    on_connected: bool,
) -> AccessLogOptions {
    let message = message.unwrap_or_default();
    take!(at, message => pb::tcp_proxy::TcpAccessLogOptions {
        supported: flush_access_log_on_connected;
        refused: access_log_flush_interval, flush_access_log_on_start;
    });
    AccessLogOptions {
        flush_on_connected: flush_access_log_on_connected || on_connected,
        ..AccessLogOptions::default()
    }
}

fn clusters(
    at: &At<'_>,
    specifier: Option<pb::tcp_proxy::ClusterSpecifier>,
    outer: Option<&MetadataMatch>,
) -> Vec<WeightedCluster> {
    use pb::tcp_proxy::ClusterSpecifier;

    match specifier {
        None => {
            at.field("cluster").error("required, or weighted_clusters");
            Vec::new()
        }
        Some(ClusterSpecifier::Cluster(name)) => vec![WeightedCluster {
            name,
            weight: 1,
            metadata_match: outer.cloned(),
        }],
        Some(ClusterSpecifier::WeightedClusters(message)) => {
            let at = at.field("weighted_clusters");
            take!(at, message => pb::tcp_proxy::WeightedCluster { supported: clusters; });
            let at = at.field("clusters");
            if clusters.is_empty() {
                at.error("must not be empty");
            }
            let sum: u64 = clusters
                .iter()
                .map(|cluster| u64::from(cluster.weight))
                .sum();
            if sum > u64::from(u32::MAX) {
                at.error(format!(
                    "sum of weights {sum}: must be at most {}",
                    u32::MAX
                ));
            }
            let converted = clusters.into_iter().enumerate();
            converted
                .map(|(index, message)| weighted_cluster(&at.index(index), message, outer))
                .collect()
        }
    }
}

fn weighted_cluster(
    at: &At<'_>,
    message: pb::tcp_proxy::weighted_cluster::ClusterWeight,
    outer: Option<&MetadataMatch>,
) -> WeightedCluster {
    take!(at, message => pb::tcp_proxy::weighted_cluster::ClusterWeight {
        supported: name, weight, metadata_match;
    });
    if weight == 0 {
        at.field("weight").error("0: must be at least 1");
    }
    WeightedCluster {
        name: non_empty(&at.field("name"), name),
        weight,
        metadata_match: self::metadata_match(metadata_match, outer),
    }
}
