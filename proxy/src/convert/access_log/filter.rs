//! Filters of access logs.

use weir_api::xds::envoy::{
    config::{
        accesslog::v3::{self as pb, access_log_filter::FilterSpecifier, comparison_filter::Op},
        core::v3::RuntimeUInt32,
    },
    data::accesslog::v3::AccessLogType,
};

use super::super::{
    at::{At, take},
    metadata::metadata_matcher,
    percent::percent,
    route_match::header_matcher,
    value::{enumeration, non_empty},
};
use crate::{
    config::access_log::{AccessLogFilter, Comparison, ComparisonOp, LogType},
    runtime::FractionalPercent,
};

/// The flags that a filter may name. Those that the proxy never sets are known all the same.
const FLAGS: [&str; 28] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC",
    "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO",
];

pub(super) fn filter(at: &At<'_>, message: pb::AccessLogFilter) -> Option<AccessLogFilter> {
    take!(at, message => pb::AccessLogFilter { supported: filter_specifier; });
    Some(match at.required(filter_specifier)? {
        FilterSpecifier::StatusCodeFilter(message) => {
            let at = at.field("status_code_filter");
            take!(at, message => pb::StatusCodeFilter { supported: comparison; });
            AccessLogFilter::StatusCode(compare(&at, comparison)?)
        }
        FilterSpecifier::DurationFilter(message) => {
            let at = at.field("duration_filter");
            take!(at, message => pb::DurationFilter { supported: comparison; });
            AccessLogFilter::Duration(compare(&at, comparison)?)
        }
        FilterSpecifier::RuntimeFilter(message) => runtime(&at.field("runtime_filter"), message)?,
        FilterSpecifier::AndFilter(message) => {
            let at = at.field("and_filter");
            take!(at, message => pb::AndFilter { supported: filters; });
            AccessLogFilter::And(several(&at.field("filters"), filters)?)
        }
        FilterSpecifier::OrFilter(message) => {
            let at = at.field("or_filter");
            take!(at, message => pb::OrFilter { supported: filters; });
            AccessLogFilter::Or(several(&at.field("filters"), filters)?)
        }
        FilterSpecifier::HeaderFilter(message) => {
            let at = at.field("header_filter");
            take!(at, message => pb::HeaderFilter { supported: header; });
            let at = at.field("header");
            AccessLogFilter::Header(header_matcher(&at, at.required(header)?)?)
        }
        FilterSpecifier::ResponseFlagFilter(message) => {
            let at = at.field("response_flag_filter");
            take!(at, message => pb::ResponseFlagFilter { supported: flags; });
            let at = at.field("flags");
            for (index, flag) in flags.iter().enumerate() {
                if !FLAGS.contains(&flag.as_str()) && flag != "UDO" {
                    at.index(index).error(format!("unknown flag {flag:?}"));
                }
            }
            AccessLogFilter::ResponseFlag(flags)
        }
        FilterSpecifier::GrpcStatusFilter(message) => {
            let at = at.field("grpc_status_filter");
            take!(at, message => pb::GrpcStatusFilter { supported: statuses, exclude; });
            let at = at.field("statuses");
            let statuses = statuses.iter().enumerate().map(|(index, status)| {
                let at = at.index(index);
                let known = enumeration::<pb::grpc_status_filter::Status>(&at, *status)?;
                u8::try_from(known as i32).ok()
            });
            AccessLogFilter::GrpcStatus {
                statuses: statuses.collect::<Option<_>>()?,
                exclude,
            }
        }
        FilterSpecifier::MetadataFilter(message) => {
            let at = at.field("metadata_filter");
            take!(at, message => pb::MetadataFilter { supported: matcher, match_if_key_not_found; });
            AccessLogFilter::Metadata {
                matcher: match matcher {
                    Some(message) => {
                        Some(Box::new(metadata_matcher(&at.field("matcher"), message)?))
                    }
                    None => None,
                },
                match_if_key_not_found: match_if_key_not_found.is_none_or(|it| it.value),
            }
        }
        FilterSpecifier::LogTypeFilter(message) => {
            let at = at.field("log_type_filter");
            take!(at, message => pb::LogTypeFilter { supported: types, exclude; });
            let at = at.field("types");
            let types = types.iter().enumerate();
            let types = types.map(|(index, value)| log_type(&at.index(index), *value));
            AccessLogFilter::LogType {
                types: types
                    .collect::<Option<Vec<_>>>()?
                    .into_iter()
                    .flatten()
                    .collect(),
                exclude,
            }
        }
        FilterSpecifier::TraceableFilter(pb::TraceableFilter {}) => {
            return refuse(at, "traceable_filter");
        }
        FilterSpecifier::NotHealthCheckFilter(pb::NotHealthCheckFilter {}) => {
            return refuse(at, "not_health_check_filter");
        }
        FilterSpecifier::ExtensionFilter(message) => {
            at.field("extension_filter").unsupported(message.name);
            return None;
        }
    })
}

fn refuse(at: &At<'_>, name: &str) -> Option<AccessLogFilter> {
    at.field(name).unsupported("this filter");
    None
}

fn several(at: &At<'_>, messages: Vec<pb::AccessLogFilter>) -> Option<Vec<AccessLogFilter>> {
    if messages.len() < 2 {
        at.error("at least two filters are needed");
    }
    let filters = messages.into_iter().enumerate();
    filters
        .map(|(index, message)| filter(&at.index(index), message))
        .collect()
}

fn compare(at: &At<'_>, message: Option<pb::ComparisonFilter>) -> Option<Comparison> {
    let at = at.field("comparison");
    let message = at.required(message)?;
    take!(at, message => pb::ComparisonFilter { supported: op, value; });
    let op = match enumeration(&at.field("op"), op)? {
        Op::Eq => ComparisonOp::Equal,
        Op::Ge => ComparisonOp::AtLeast,
        Op::Le => ComparisonOp::AtMost,
        Op::Ne => ComparisonOp::NotEqual,
    };
    let at = at.field("value");
    let message = at.required(value)?;
    take!(at, message => RuntimeUInt32 { supported: default_value, runtime_key; });
    Some(Comparison {
        op,
        value: default_value,
        key: non_empty(&at.field("runtime_key"), runtime_key),
    })
}

fn runtime(at: &At<'_>, message: pb::RuntimeFilter) -> Option<AccessLogFilter> {
    take!(at, message => pb::RuntimeFilter {
        supported: runtime_key, percent_sampled, use_independent_randomness;
    });
    // As in Envoy, nothing is sampled where nothing is said.
    let share = match percent_sampled {
        Some(message) => percent(&at.field("percent_sampled"), message)?,
        None => FractionalPercent::percent(0),
    };
    Some(AccessLogFilter::Runtime {
        key: non_empty(&at.field("runtime_key"), runtime_key),
        share,
        independent: use_independent_randomness,
    })
}

/// None within for a type that no log of ours has.
fn log_type(at: &At<'_>, value: i32) -> Option<Option<LogType>> {
    Some(match enumeration(at, value)? {
        AccessLogType::NotSet => Some(LogType::NotSet),
        AccessLogType::TcpUpstreamConnected => Some(LogType::TcpUpstreamConnected),
        AccessLogType::TcpPeriodic => Some(LogType::TcpPeriodic),
        AccessLogType::TcpConnectionEnd => Some(LogType::TcpConnectionEnd),
        AccessLogType::DownstreamStart => Some(LogType::DownstreamStart),
        AccessLogType::DownstreamPeriodic => Some(LogType::DownstreamPeriodic),
        AccessLogType::DownstreamEnd => Some(LogType::DownstreamEnd),
        AccessLogType::DownstreamTunnelSuccessfullyEstablished => {
            Some(LogType::DownstreamTunnelSuccessfullyEstablished)
        }
        _ => None,
    })
}
