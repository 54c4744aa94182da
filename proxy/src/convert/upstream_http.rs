//! What a cluster says of HTTP towards its endpoints.

use std::{collections::HashMap, sync::Arc};

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::UpstreamHttpProtocolOptions, extensions::upstreams::http::v3 as http_v3,
    },
    google::protobuf::Any,
};

use super::{
    at::{At, take},
    http_filter::upstream_http_filters,
    http_options::{self, CommonOptions},
    value::{header_name, type_name, unpack},
};
use crate::config::{
    cluster::{AutoSni, UpstreamProtocol},
    http::Http2Options,
    http_filter::HttpFilter,
};

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What a cluster says of HTTP.
pub(super) struct HttpOptions {
    pub(super) common: CommonOptions,
    pub(super) protocol: UpstreamProtocol,
    pub(super) http2: Http2Options,
    pub(super) http_filters: Option<Arc<[HttpFilter]>>,
    pub(super) auto_sni: Option<AutoSni>,
}

/// The options in `typed_extension_protocol_options`; `default` without any.
pub(super) fn extension_options(
    at: &At<'_>,
    options: HashMap<String, Any>,
    default: HttpOptions,
) -> HttpOptions {
    let mut found = default;
    for (key, any) in options {
        let at = at.key(&key);
        if key != HTTP_OPTIONS || type_name(&any) != HTTP_OPTIONS {
            at.unsupported(format!("options of type {}", type_name(&any)));
        } else if let Some(message) = unpack(&at, &any, codec::unpack_http_protocol_options) {
            found = http_protocol_options(&at, message);
        }
    }
    found
}

fn http_protocol_options(at: &At<'_>, message: http_v3::HttpProtocolOptions) -> HttpOptions {
    use http_v3::http_protocol_options as options;

    take!(at, message => http_v3::HttpProtocolOptions {
        supported: common_http_protocol_options, upstream_protocol_options, http_filters,
            upstream_http_protocol_options;
        refused: header_validation_config,
            outlier_detection, request_mirror_policies, hash_policy, retry_policy;
    });
    let common = http_options::upstream_common(
        &at.field("common_http_protocol_options"),
        common_http_protocol_options,
    );
    let (protocol, http2) = match upstream_protocol_options {
        None => {
            at.error("explicit_http_config or use_downstream_protocol_config is required");
            (UpstreamProtocol::Http1, Http2Options::default())
        }
        Some(options::UpstreamProtocolOptions::ExplicitHttpConfig(message)) => {
            explicit(&at.field("explicit_http_config"), message)
        }
        Some(options::UpstreamProtocolOptions::UseDownstreamProtocolConfig(message)) => {
            let at = at.field("use_downstream_protocol_config");
            take!(at, message => options::UseDownstreamHttpConfig {
                supported: http_protocol_options, http2_protocol_options;
                refused: http3_protocol_options;
            });
            http_options::http1(&at.field("http_protocol_options"), http_protocol_options);
            let http2 =
                http_options::http2(&at.field("http2_protocol_options"), http2_protocol_options);
            (UpstreamProtocol::UseDownstream, http2)
        }
        Some(options::UpstreamProtocolOptions::AutoConfig(message)) => {
            let at = at.field("auto_config");
            take!(at, message => options::AutoHttpConfig {
                supported: http_protocol_options, http2_protocol_options;
                refused: http3_protocol_options, alternate_protocols_cache_options;
            });
            http_options::http1(&at.field("http_protocol_options"), http_protocol_options);
            let http2 =
                http_options::http2(&at.field("http2_protocol_options"), http2_protocol_options);
            (UpstreamProtocol::Auto, http2)
        }
    };
    let at_filters = at.field("http_filters");
    let auto_sni = upstream_http_protocol_options
        .and_then(|message| auto_sni(&at.field("upstream_http_protocol_options"), message));
    HttpOptions {
        auto_sni,
        common,
        protocol,
        http2,
        http_filters: (!http_filters.is_empty())
            .then(|| upstream_http_filters(&at_filters, http_filters)),
    }
}

fn auto_sni(at: &At<'_>, message: UpstreamHttpProtocolOptions) -> Option<AutoSni> {
    take!(at, message => UpstreamHttpProtocolOptions {
        supported: auto_sni, auto_san_validation, override_auto_sni_header;
    });
    if !auto_sni {
        if auto_san_validation {
            at.field("auto_san_validation")
                .unsupported("true without auto_sni");
        }
        return None;
    }
    let at = at.field("override_auto_sni_header");
    Some(AutoSni {
        header: (!override_auto_sni_header.is_empty())
            .then(|| header_name(&at, &override_auto_sni_header)),
        validates_san: auto_san_validation,
    })
}

fn explicit(
    at: &At<'_>,
    message: http_v3::http_protocol_options::ExplicitHttpConfig,
) -> (UpstreamProtocol, Http2Options) {
    use http_v3::http_protocol_options::explicit_http_config::ProtocolConfig;

    let mut http2 = Http2Options::default();
    let protocol = match message.protocol_config {
        Some(ProtocolConfig::HttpProtocolOptions(message)) => {
            http_options::http1(&at.field("http_protocol_options"), Some(message));
            UpstreamProtocol::Http1
        }
        Some(ProtocolConfig::Http2ProtocolOptions(message)) => {
            http2 = http_options::http2(&at.field("http2_protocol_options"), Some(message));
            UpstreamProtocol::Http2
        }
        Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
            at.field("http3_protocol_options").unsupported("HTTP/3");
            UpstreamProtocol::Http1
        }
        None => {
            at.error("http_protocol_options or http2_protocol_options is required");
            UpstreamProtocol::Http1
        }
    };
    (protocol, http2)
}
