//! `envoy.filters.http.fault`.

use weir_api::xds::{
    codec,
    envoy::extensions::filters::{
        common::fault::v3::{self as common, fault_delay, fault_rate_limit},
        http::fault::v3::{self as pb, fault_abort::ErrorType},
    },
    google::protobuf::Any,
};

use super::super::{
    at::{At, take},
    percent::percent,
    route_match::header_matcher,
    value::{json_object, positive_duration, unpack},
};
use crate::{
    config::http_filter::{
        Fault, HttpFilterConfig, RouteSpecificFilterConfig,
        fault::{AbortWith, FaultAbort, FaultDelay, FaultRateLimit, FaultRuntimeKeys},
    },
    runtime::FractionalPercent,
};

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_http_fault)?;
    Some(HttpFilterConfig::Fault(Box::new(fault(at, message))))
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_http_fault)?;
    Some(RouteSpecificFilterConfig::Fault(Box::new(fault(
        at, message,
    ))))
}

fn fault(at: &At<'_>, message: pb::HttpFault) -> Fault {
    take!(at, message => pb::HttpFault {
        supported: delay, abort, upstream_cluster, headers, downstream_nodes, max_active_faults,
            response_rate_limit, delay_percent_runtime, abort_percent_runtime,
            delay_duration_runtime, abort_http_status_runtime, max_active_faults_runtime,
            response_rate_limit_percent_runtime, abort_grpc_status_runtime,
            disable_downstream_cluster_stats, filter_metadata;
    });
    let at_headers = at.field("headers");
    let headers = headers.into_iter().enumerate();
    let at_limit = at.field("response_rate_limit");
    Fault {
        delay: delay.and_then(|message| self::delay(&at.field("delay"), message)),
        abort: abort.and_then(|message| self::abort(&at.field("abort"), message)),
        response_rate_limit: response_rate_limit.and_then(|message| limit(&at_limit, message)),
        upstream_cluster,
        headers: headers
            .filter_map(|(index, message)| header_matcher(&at_headers.index(index), message))
            .collect(),
        downstream_nodes,
        max_active_faults: max_active_faults.map(|max| max.value),
        disable_downstream_cluster_stats,
        filter_metadata: filter_metadata.map(json_object),
        runtime: FaultRuntimeKeys {
            delay_percent: key(delay_percent_runtime, "delay.fixed_delay_percent"),
            delay_duration: key(delay_duration_runtime, "delay.fixed_duration_ms"),
            abort_percent: key(abort_percent_runtime, "abort.abort_percent"),
            abort_http_status: key(abort_http_status_runtime, "abort.http_status"),
            abort_grpc_status: key(abort_grpc_status_runtime, "abort.grpc_status"),
            max_active_faults: key(max_active_faults_runtime, "max_active_faults"),
            response_rate_limit_percent: key(
                response_rate_limit_percent_runtime,
                "rate_limit.response_percent",
            ),
        },
    }
}

/// A runtime key, or Envoy's.
fn key(key: String, default: &str) -> String {
    match key.as_str() {
        "" => format!("fault.http.{default}"),
        _ => key,
    }
}

/// A percentage; none unless set.
fn share(
    at: &At<'_>,
    message: Option<weir_api::xds::envoy::r#type::v3::FractionalPercent>,
) -> Option<FractionalPercent> {
    match message {
        None => Some(FractionalPercent::percent(0)),
        Some(message) => percent(&at.field("percentage"), message),
    }
}

fn delay(at: &At<'_>, message: common::FaultDelay) -> Option<FaultDelay> {
    take!(at, message => common::FaultDelay { supported: percentage, fault_delay_secifier; });
    let percentage = share(at, percentage);
    let at_fixed = at.field("fixed_delay");
    let fixed = match at_fixed.required(fault_delay_secifier)? {
        fault_delay::FaultDelaySecifier::FixedDelay(fixed) => {
            Some(positive_duration(&at_fixed, Some(fixed))?)
        }
        fault_delay::FaultDelaySecifier::HeaderDelay(fault_delay::HeaderDelay {}) => None,
    };
    Some(FaultDelay {
        fixed,
        percentage: percentage?,
    })
}

fn abort(at: &At<'_>, message: pb::FaultAbort) -> Option<FaultAbort> {
    take!(at, message => pb::FaultAbort { supported: percentage, response_body, error_type; });
    let percentage = share(at, percentage);
    let at_status = at.field("http_status");
    let with = match at_status.required(error_type)? {
        ErrorType::HttpStatus(status) => {
            let sound = u16::try_from(status).ok();
            let sound = sound.filter(|status| (200..600).contains(status));
            if sound.is_none() {
                at_status.error(format!("{status}: must be from 200 to 599"));
            }
            AbortWith::Http(sound?)
        }
        ErrorType::GrpcStatus(status) => AbortWith::Grpc(status),
        ErrorType::HeaderAbort(pb::fault_abort::HeaderAbort {}) => AbortWith::Header,
    };
    Some(FaultAbort {
        with,
        percentage: percentage?,
        body: response_body,
    })
}

fn limit(at: &At<'_>, message: common::FaultRateLimit) -> Option<FaultRateLimit> {
    take!(at, message => common::FaultRateLimit { supported: percentage, limit_type; });
    let percentage = share(at, percentage);
    let at_fixed = at.field("fixed_limit");
    let fixed_kbps = match at_fixed.required(limit_type)? {
        fault_rate_limit::LimitType::FixedLimit(fault_rate_limit::FixedLimit { limit_kbps }) => {
            if limit_kbps == 0 {
                at_fixed.field("limit_kbps").error("0: must be at least 1");
            }
            Some(limit_kbps)
        }
        fault_rate_limit::LimitType::HeaderLimit(fault_rate_limit::HeaderLimit {}) => None,
    };
    Some(FaultRateLimit {
        fixed_kbps,
        percentage: percentage?,
    })
}
