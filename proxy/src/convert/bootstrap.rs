//! The bootstrap: what the process starts with.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use weir_api::xds::envoy::config::{
    bootstrap::v3::{self as pb, bootstrap as pb_bootstrap},
    core::v3 as core,
};

use super::{
    at::{At, Needed, Report, take},
    cluster::cluster,
    dns_resolver,
    listener::listener,
    overload::overload_manager,
    runtime::{default_runtime, runtime},
    tls_secret::secret,
    value::{ads, enumeration, header_name, header_value, non_empty, v3},
};
use crate::config::{
    Bootstrap, Cluster,
    bootstrap::{Ads, AdsProtocol, LocalCluster},
    cluster::ClusterDiscovery,
    endpoint::Locality,
    tls::LoadedSecret,
};

pub(super) fn bootstrap(report: &Report, message: pb::Bootstrap) -> Option<Bootstrap> {
    let at = report.resource("Bootstrap");
    take!(at, message => pb::Bootstrap {
        supported: node, static_resources, dynamic_resources, admin, layered_runtime,
            overload_manager, cluster_manager, typed_dns_resolver_config,
            dns_resolution_config, use_tcp_for_dns_lookups;
        ignored: stats_flush_interval = "stats are read, not flushed, and sinks are refused",
            stats_flush = "stats are read, not flushed, and sinks are refused";
        refused: node_context_params, hds_config, flags_path, stats_sinks,
            deferred_stat_options, stats_config, watchdog, watchdogs, tracing,
            enable_dispatcher_stats, header_prefix,
            stats_server_version_override, bootstrap_extensions, fatal_actions, config_sources,
            default_config_source, default_socket_interface, certificate_provider_instances,
            inline_headers, perf_tracing_file_path, default_regex_engine,
            xds_delegate_extension, xds_config_tracker_extension, listener_manager,
            application_log_config, grpc_async_client_manager_config, memory_allocator_manager,
            enable_worker_cpu_affinity, stats_eviction;
    });
    let message = static_resources.unwrap_or_default();
    take!(at, message => pb_bootstrap::StaticResources {
        supported: listeners, clusters, secrets;
    });
    let secrets = static_secrets(report, secrets);
    let names: HashSet<String> = clusters
        .iter()
        .map(|message| message.name.clone())
        .collect();
    let clusters = static_clusters(report, clusters);
    let listeners = static_listeners(report, listeners);
    let message = dynamic_resources.unwrap_or_default();
    let has_ads = message.ads_config.is_some();
    let node = node.unwrap_or_default();
    if has_ads && (node.id.is_empty() || node.cluster.is_empty()) {
        at.field("node")
            .error("id and cluster are required with ads_config");
    }
    let dynamic = dynamic_resources_of(&at.field("dynamic_resources"), message, &clusters);
    let local_cluster = cluster_manager
        .and_then(|message| local_cluster(&at.field("cluster_manager"), message, &node, &clusters));
    for need in report.needs() {
        let met = match need.what {
            Needed::Cluster(name) => names.contains(&name),
            Needed::Secret(name) => secrets.iter().any(|known| known.secret.name == name),
            Needed::Ads => has_ads,
        };
        if !met {
            report.push(need.problem);
        }
    }
    Some(Bootstrap {
        node,
        local_cluster,
        runtime: layered_runtime.map_or_else(default_runtime, |message| {
            runtime(&at.field("layered_runtime"), message)
        }),
        overload: overload_manager.map(|message| {
            Arc::new(self::overload_manager(
                &at.field("overload_manager"),
                message,
            ))
        }),
        dns_resolver: dns_resolver::of_bootstrap(
            &at,
            dns_resolver::OfCluster {
                typed: typed_dns_resolver_config,
                resolution: dns_resolution_config,
                resolvers: Vec::new(),
                use_tcp: use_tcp_for_dns_lookups,
            },
        ),
        admin: admin.and_then(|message| self::admin(&at.field("admin"), message)),
        listeners,
        clusters,
        secrets,
        ads: dynamic.ads,
        lds: dynamic.lds,
        cds: dynamic.cds,
    })
}

fn local_cluster(
    at: &At<'_>,
    message: pb::ClusterManager,
    node: &core::Node,
    clusters: &[Arc<Cluster>],
) -> Option<Arc<LocalCluster>> {
    take!(at, message => pb::ClusterManager {
        supported: local_cluster_name;
        refused: outlier_detection, upstream_bind_config, load_stats_config,
            enable_deferred_cluster_creation;
    });
    if local_cluster_name.is_empty() {
        return None;
    }
    if !clusters
        .iter()
        .any(|known| known.name == local_cluster_name)
    {
        at.field("local_cluster_name").error(format!(
            "{local_cluster_name:?}: must be a cluster of static_resources"
        ));
    }
    let core::Locality {
        region,
        zone,
        sub_zone,
    } = node.locality.clone().unwrap_or_default();
    Some(Arc::new(LocalCluster {
        name: local_cluster_name,
        locality: Locality {
            region,
            zone,
            sub_zone,
        },
    }))
}

fn static_secrets(
    report: &Report,
    messages: Vec<weir_api::xds::envoy::extensions::transport_sockets::tls::v3::Secret>,
) -> Vec<Arc<LoadedSecret>> {
    let mut names = HashSet::new();
    let mut secrets = Vec::with_capacity(messages.len());
    for message in messages {
        let resource = format!("Secret {:?}", message.name);
        let at = report.resource(&resource);
        if !names.insert(message.name.clone()) {
            at.field("name").error("appears more than once");
        }
        secrets.extend(secret(&at, message).map(Arc::new));
    }
    secrets
}

fn static_clusters(
    report: &Report,
    messages: Vec<weir_api::xds::envoy::config::cluster::v3::Cluster>,
) -> Vec<Arc<Cluster>> {
    let mut names = HashSet::new();
    let mut clusters = Vec::with_capacity(messages.len());
    for message in messages {
        let resource = format!("Cluster {:?}", message.name);
        let at = report.resource(&resource);
        if !names.insert(message.name.clone()) {
            at.field("name").error("appears more than once");
        }
        clusters.extend(cluster(&at, message).map(Arc::new));
    }
    clusters
}

fn static_listeners(
    report: &Report,
    messages: Vec<weir_api::xds::envoy::config::listener::v3::Listener>,
) -> Vec<Arc<crate::config::Listener>> {
    let mut names = HashSet::new();
    let mut addresses = HashMap::new();
    let mut listeners = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        let resource = match message.name.as_str() {
            "" => format!("Listener static_resources.listeners[{index}]"),
            name => format!("Listener {name:?}"),
        };
        let at = report.resource(&resource);
        if !message.name.is_empty() && !names.insert(message.name.clone()) {
            // Envoy lets the last one replace the others.
            at.field("name")
                .unsupported(format!("{:?} more than once", message.name));
        }
        let Some(listener) = listener(&at, message) else {
            continue;
        };
        let other = addresses.insert(listener.address, listener.name.clone());
        if let Some(other) = other.filter(|_| listener.address.port() != 0) {
            at.field("address")
                .error(format!("{} is that of {other:?}", listener.address));
        }
        listeners.push(Arc::new(listener));
    }
    listeners
}

fn admin(at: &At<'_>, message: pb::Admin) -> Option<std::net::SocketAddr> {
    take!(at, message => pb::Admin {
        supported: address;
        ignored: profile_path = "there is no profiler",
            ignore_global_conn_limit = "its connections are not counted in any case";
        refused: access_log, access_log_path, socket_options, allow_paths;
    });
    super::value::address(&at.field("address"), address?)
}

/// What comes over the network.
#[derive(Default)]
struct Dynamic {
    ads: Option<Ads>,
    lds: bool,
    cds: bool,
}

fn dynamic_resources_of(
    at: &At<'_>,
    message: pb_bootstrap::DynamicResources,
    clusters: &[Arc<Cluster>],
) -> Dynamic {
    take!(at, message => pb_bootstrap::DynamicResources {
        supported: lds_config, cds_config, ads_config;
        refused: lds_resources_locator, cds_resources_locator;
    });
    let wanted = |name: &str, config: Option<core::ConfigSource>| {
        let at = at.field(name);
        let present = config.is_some();
        if let Some(config) = config {
            ads(&at, config);
        }
        present
    };
    let lds = wanted("lds_config", lds_config);
    let cds = wanted("cds_config", cds_config);
    let ads =
        ads_config.and_then(|message| ads_config_of(&at.field("ads_config"), message, clusters));
    Dynamic { ads, lds, cds }
}

fn ads_config_of(
    at: &At<'_>,
    message: core::ApiConfigSource,
    clusters: &[Arc<Cluster>],
) -> Option<Ads> {
    use core::api_config_source::ApiType;

    take!(at, message => core::ApiConfigSource {
        supported: api_type, transport_api_version, grpc_services;
        ignored: set_node_on_first_message_only = "the node is sent on the first message only";
        refused: cluster_names, refresh_delay, request_timeout, rate_limit_settings,
            config_validators;
    });
    v3(&at.field("transport_api_version"), transport_api_version);
    let at_type = at.field("api_type");
    let protocol = match enumeration(&at_type, api_type)? {
        ApiType::DeltaGrpc => Some(AdsProtocol::Delta),
        ApiType::Grpc => Some(AdsProtocol::StateOfTheWorld),
        other => {
            at_type.unsupported(other.as_str_name());
            None
        }
    };
    let at = at.field("grpc_services");
    if grpc_services.len() > 1 {
        at.unsupported("more than one control plane");
    }
    let message = at.required(grpc_services.into_iter().next())?;
    let (cluster, initial_metadata) = grpc_service(&at.index(0), message, clusters)?;
    Some(Ads {
        cluster,
        protocol: protocol?,
        initial_metadata,
    })
}

fn grpc_service(
    at: &At<'_>,
    message: core::GrpcService,
    clusters: &[Arc<Cluster>],
) -> Option<(String, Vec<(String, String)>)> {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};

    take!(at, message => core::GrpcService {
        supported: initial_metadata, target_specifier;
        refused: timeout, retry_policy;
    });
    let at_metadata = at.field("initial_metadata");
    let metadata = initial_metadata.into_iter().enumerate();
    let metadata = metadata
        .map(|(index, message)| {
            let at = at_metadata.index(index);
            take!(at, message => core::HeaderValue {
                supported: key, value;
                refused: raw_value;
            });
            (
                header_name(&at.field("key"), &key),
                header_value(&at.field("value"), value),
            )
        })
        .collect();
    match at.field("envoy_grpc").required(target_specifier)? {
        TargetSpecifier::EnvoyGrpc(message) => {
            let at = at.field("envoy_grpc");
            take!(at, message => EnvoyGrpc {
                supported: cluster_name;
                refused: authority, retry_policy, max_receive_message_length, skip_envoy_headers;
            });
            let at = at.field("cluster_name");
            let name = non_empty(&at, cluster_name);
            at.refers_to_cluster(&name);
            let comes_from_ads = |cluster: &Arc<Cluster>| {
                cluster.name == name && matches!(cluster.discovery, ClusterDiscovery::Eds(_))
            };
            if clusters.iter().any(comes_from_ads) {
                at.error(format!("cluster {name:?} must not itself come from ADS"));
            }
            Some((name, metadata))
        }
        TargetSpecifier::GoogleGrpc(service) => {
            at.field("google_grpc")
                .unsupported(format!("{:?}", service.target_uri));
            None
        }
    }
}
