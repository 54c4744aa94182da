//! Services that the proxy itself calls.

use weir_api::xds::envoy::config::core::v3::{
    GrpcService, HeaderValue, HttpUri, grpc_service, http_uri::HttpUpstreamType,
};

use super::{
    at::{At, take},
    value::{duration, header_name, header_value, non_empty},
};
use crate::config::{
    format::Format,
    service::{GrpcService as Grpc, HttpUri as Http},
};

/// A service of gRPC that is a cluster.
pub(super) fn grpc_service(at: &At<'_>, message: GrpcService) -> Option<Grpc> {
    use grpc_service::{EnvoyGrpc, TargetSpecifier};
    take!(at, message => GrpcService {
        supported: timeout, initial_metadata, target_specifier;
        refused: retry_policy;
    });
    let target = match at.field("target_specifier").required(target_specifier)? {
        TargetSpecifier::EnvoyGrpc(target) => target,
        TargetSpecifier::GoogleGrpc(target) => {
            let at = at.field("google_grpc");
            at.unsupported(format!("{:?} (envoy_grpc is)", target.target_uri));
            return None;
        }
    };
    let at_target = at.field("envoy_grpc");
    take!(at_target, target => EnvoyGrpc {
        supported: cluster_name, authority, max_receive_message_length;
        ignored: skip_envoy_headers = "Envoy's own headers are not sent to services that are called";
        refused: retry_policy;
    });
    let at_cluster = at_target.field("cluster_name");
    at_cluster.refers_to_cluster(&cluster_name);
    let at_authority = at_target.field("authority");
    if !authority.is_empty() && authority.parse::<http::uri::Authority>().is_err() {
        at_authority.error(format!("{authority:?}: not an authority"));
    }
    let max = max_receive_message_length.map(|most| most.value as usize);
    Some(Grpc {
        cluster: non_empty(&at_cluster, cluster_name),
        authority,
        timeout: duration(&at.field("timeout"), timeout).filter(|it| !it.is_zero()),
        initial_metadata: metadata(&at.field("initial_metadata"), initial_metadata),
        max_receive_message_length: max.filter(|most| *most > 0),
    })
}

fn metadata(at: &At<'_>, messages: Vec<HeaderValue>) -> Vec<(String, Format)> {
    let messages = messages.into_iter().enumerate();
    let converted = messages.filter_map(|(index, message)| {
        let at = at.index(index);
        take!(at, message => HeaderValue {
            supported: key, value;
            refused: raw_value;
        });
        let name = header_name(&at.field("key"), &key);
        if name.starts_with(':') || name == "host" {
            let at = at.field("key");
            at.error(format!("{name:?}: authority says that"));
        }
        let value = header_value(&at.field("value"), value);
        let value = Format::parse(&value);
        let value = value.map_err(|error| at.field("value").error(error.to_string()));
        Some((name, value.ok()?))
    });
    converted.collect()
}

/// A URI that a cluster is asked for.
pub(super) fn http_uri(at: &At<'_>, message: HttpUri) -> Option<Http> {
    take!(at, message => HttpUri {
        supported: uri, timeout, http_upstream_type;
    });
    let target = at.field("http_upstream_type").required(http_upstream_type);
    let timeout = at.field("timeout").required(timeout);
    let timeout = timeout.and_then(|it| duration(&at.field("timeout"), Some(it)));
    let at_uri = at.field("uri");
    let parsed: Option<http::Uri> = uri.parse().ok();
    let whole = parsed.filter(|uri| uri.authority().is_some() && uri.scheme().is_some());
    if whole.is_none() {
        at_uri.error(format!("{uri:?}: must be absolute, as http://host/path"));
    }
    let HttpUpstreamType::Cluster(cluster) = target?;
    let at_cluster = at.field("cluster");
    at_cluster.refers_to_cluster(&cluster);
    Some(Http {
        uri: whole?,
        cluster: non_empty(&at_cluster, cluster),
        timeout: timeout?,
    })
}
