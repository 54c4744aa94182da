//! Access logs: one line a request or a connection, written by a thread of its own so that a full
//! disk or a slow terminal never holds traffic back.

mod filter;
mod line;
mod sink;
mod tls;
mod values;

pub(crate) use sink::{AccessLogFiles, Reopenings};
pub(crate) use values::Facts;

use crate::{
    config::{AccessLog, access_log::LogType},
    info::{ConnectionInfo, Outcome},
    runtime::Runtime,
};

/// Writes the lines of a connection.
pub(crate) fn write_connection(
    writers: &AccessLogFiles,
    logs: &[AccessLog],
    context: &ConnectionInfo,
    (log_type, outcome): (LogType, &Outcome),
    runtime: &Runtime,
) {
    let facts = Facts {
        upstream_local: context.upstream_local.as_deref().copied(),
        duration_us: context.elapsed_us(),
        start: context.start_time(),
        bytes_received: context.bytes_received,
        bytes_sent: context.bytes_sent,
        log_type,
        ..Facts::of_connection(context, outcome)
    };
    write(writers, logs, &facts, runtime);
}

/// Writes the lines of a request or a connection.
pub(crate) fn write(
    writers: &AccessLogFiles,
    logs: &[AccessLog],
    facts: &Facts<'_>,
    runtime: &Runtime,
) {
    for log in logs {
        let filter = log.filter.as_deref();
        if filter.is_none_or(|filter| filter::takes(filter, facts, runtime)) {
            writers.write(&log.sink, line::render(&log.format, facts));
        }
    }
}
