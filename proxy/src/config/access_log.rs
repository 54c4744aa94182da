//! Access logs.

use std::path::PathBuf;

use super::format::Format;

/// `envoy.config.accesslog.v3.AccessLog` without filters.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: AccessLogSink,
    /// How a line reads.
    pub format: AccessLogFormat,
}

/// Where access log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccessLogSink {
    /// `StdoutAccessLog`, or a file named `/dev/stdout`.
    Stdout,
    /// `StderrAccessLog`, or a file named `/dev/stderr`.
    Stderr,
    /// `FileAccessLog`
    File(PathBuf),
}

/// How an access log line reads.
#[derive(Debug, Clone)]
pub enum AccessLogFormat {
    /// Envoy's default text format.
    Default,
    /// `text_format`, which ends its lines itself.
    Text(Format),
    /// `json_format`: keys in order and their values; one object a line.
    Json(Vec<(String, Format)>),
}
