//! `/connections`: what the workers' connection logs hold.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::{Admin, query::Query, reply::Reply, time::unix_ms};
use crate::connection_log::ConnectionRecord;

pub(super) const PARAMETERS: &[(&str, &str)] = &[("format", "json")];

/// `/connections`
pub(super) fn print(admin: &Admin, query: &Query) -> Reply {
    if let Some(other) = query.get("format").filter(|format| *format != "json") {
        let refusal = format!("format {other:?} is not json\n");
        return Reply::error(StatusCode::BAD_REQUEST, refusal);
    }
    let mut records: Vec<_> = admin.logs.iter().flat_map(|log| log.read()).collect();
    records.sort_by_key(|record| record.start + Duration::from_micros(record.duration_us));
    Reply::json(&records.iter().map(to_json).collect())
}

fn to_json(record: &ConnectionRecord) -> Json {
    json!({
        "direction": record.direction(),
        "listener": record.listener.name,
        "filter_chain": record.filter_chain.as_ref().map_or("", |chain| &chain.name),
        "protocol": record.protocol,
        "cluster": record.cluster.as_ref().map_or("", |cluster| &cluster.name),
        "upstream_host": record.upstream_host.map(|host| host.to_string()),
        "downstream_remote_address": record.downstream_remote.to_string(),
        "original_destination": record.original_destination.to_string(),
        "server_name": record.server_name,
        "start_ms": unix_ms(record.start),
        "duration_us": record.duration_us,
        "requests": record.requests,
        "response_code": record.response_code,
        "response_flags": record.response_flags,
        "reason": record.reason,
        "bytes_received": record.bytes_received,
        "bytes_sent": record.bytes_sent,
    })
}
