//! Access logs: one line a request or a connection, written by a thread of its own so that a full
//! disk or a slow terminal never holds traffic back.

mod line;
mod sink;

pub(crate) use line::Facts;
pub(crate) use sink::AccessLogFiles;

use crate::{
    config::AccessLog,
    info::{ConnectionInfo, Outcome},
};

/// Writes the lines of a connection.
pub(crate) fn write_connection(
    writers: &AccessLogFiles,
    logs: &[AccessLog],
    context: &ConnectionInfo,
    outcome: &Outcome,
) {
    if logs.is_empty() {
        return;
    }
    let facts = Facts {
        context,
        outcome,
        request: None,
        response: None,
        client: None,
        upstream_local: context.upstream_local.as_deref().copied(),
        duration_us: context.elapsed_us(),
        start: context.start_time(),
        bytes_received: context.bytes_received,
        bytes_sent: context.bytes_sent,
        route_name: "",
    };
    write(writers, logs, &facts);
}

/// Writes the lines of a request or a connection.
pub(crate) fn write(writers: &AccessLogFiles, logs: &[AccessLog], facts: &Facts<'_>) {
    for log in logs {
        writers.write(&log.sink, line::render(&log.format, facts));
    }
}
