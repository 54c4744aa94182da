//! Whether a line is written.

use super::Facts;
use crate::{
    config::{
        access_log::{AccessLogFilter, Comparison},
        format::MetadataOf,
    },
    info::{head::header_matches, request_id},
    random,
    runtime::Runtime,
};

/// Whether the log takes the line.
pub(super) fn takes(filter: &AccessLogFilter, facts: &Facts<'_>, runtime: &Runtime) -> bool {
    match filter {
        AccessLogFilter::StatusCode(comparison) => {
            let status = facts.outcome.response_code;
            compare(comparison, u64::from(status), runtime)
        }
        AccessLogFilter::Duration(comparison) => {
            compare(comparison, facts.duration_us / 1000, runtime)
        }
        AccessLogFilter::Runtime {
            key,
            share,
            independent,
        } => {
            let of_id = || {
                let id = facts.request?.first("x-request-id")?;
                request_id::share_of(&id)
            };
            let random = of_id().filter(|_| !independent);
            runtime.is_among(key, *share, random.unwrap_or_else(random::seed))
        }
        AccessLogFilter::And(filters) => filters.iter().all(|filter| takes(filter, facts, runtime)),
        AccessLogFilter::Or(filters) => filters.iter().any(|filter| takes(filter, facts, runtime)),
        AccessLogFilter::Header(matcher) => {
            let request = facts.request;
            request.is_some_and(|request| header_matches(matcher, request))
        }
        AccessLogFilter::ResponseFlag(wanted) => {
            let flags = facts.outcome.response_flags();
            let mut flags = flags.iter().filter(|flag| !flag.is_empty());
            flags.any(|flag| wanted.is_empty() || wanted.iter().any(|wanted| wanted == flag))
        }
        AccessLogFilter::GrpcStatus { statuses, exclude } => {
            let status = facts.grpc_status();
            let status = status.unwrap_or_else(|| grpc_status_of(facts.outcome.response_code));
            statuses.contains(&status) != *exclude
        }
        AccessLogFilter::Metadata {
            matcher,
            match_if_key_not_found,
        } => {
            let Some(matcher) = matcher else {
                return *match_if_key_not_found;
            };
            let metadata = facts.metadata(MetadataOf::Dynamic, &matcher.filter);
            match metadata {
                Some(metadata) if metadata.value(&matcher.filter, &matcher.path).is_some() => {
                    matcher.matches(metadata)
                }
                _ => *match_if_key_not_found,
            }
        }
        AccessLogFilter::LogType { types, exclude } => types.contains(&facts.log_type) != *exclude,
    }
}

fn compare(comparison: &Comparison, value: u64, runtime: &Runtime) -> bool {
    let with = runtime.integer(&comparison.key, u64::from(comparison.value));
    comparison.holds(value, with)
}

/// What a status of HTTP says of a call whose response has none of gRPC.
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn grpc_status_of(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
