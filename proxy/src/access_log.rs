//! Access logs: one line a request or a connection, written by a thread of its own so that a full
//! disk or a slow terminal never holds traffic back.

mod line;
mod sink;

use std::net::SocketAddr;

pub(crate) use line::Facts;
pub(crate) use sink::AccessLogFiles;

use crate::{config::AccessLog, listener::ConnectionContext};

/// Writes the lines of a connection that carried no HTTP.
pub(crate) fn write_connection(
    logs: &[AccessLog],
    context: &ConnectionContext,
    upstream_local: Option<SocketAddr>,
) {
    if logs.is_empty() {
        return;
    }
    let facts = Facts {
        context,
        outcome: &context.outcome,
        request: None,
        response: None,
        client: None,
        upstream_local,
        duration_us: context.elapsed_us(),
        start: context.start_time,
        bytes_received: context.bytes_received,
        bytes_sent: context.bytes_sent,
        route_name: "",
    };
    write(logs, &facts);
}

/// Writes the lines of a request or a connection.
pub(crate) fn write(logs: &[AccessLog], facts: &Facts<'_>) {
    for log in logs {
        facts
            .context
            .worker
            .access_logs
            .write(&log.sink, line::render(&log.format, facts));
    }
}
