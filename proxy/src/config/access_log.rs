//! Access logs.

mod filter;

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;

use super::format::Format;

pub use filter::{AccessLogFilter, Comparison, ComparisonOp, LogType};

/// `envoy.config.accesslog.v3.AccessLog`
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Which lines are written; none: all.
    pub filter: Option<Arc<AccessLogFilter>>,
    /// Where lines go.
    pub sink: AccessLogSink,
    /// How a line reads.
    pub format: AccessLogFormat,
}

/// `HcmAccessLogOptions` and `TcpAccessLogOptions`: when lines are written beside the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccessLogOptions {
    /// `flush_access_log_on_new_request`: when a request's head has come.
    pub flush_on_new_request: bool,
    /// `flush_access_log_on_connected`: when the TCP proxy has reached an endpoint.
    pub flush_on_connected: bool,
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
    Text {
        /// The line.
        format: Format,
        /// `omit_empty_values`: what has no value is left out, not shown as `-`.
        omit_empty: bool,
    },
    /// `json_format`: one object a line.
    Json {
        /// The object.
        template: JsonTemplate,
        /// `omit_empty_values`: what has no value is left out, not null.
        omit_empty: bool,
    },
}

/// A JSON value with formats in it.
#[derive(Debug, Clone)]
pub enum JsonTemplate {
    /// Text with commands.
    Format(Format),
    /// What is not text stays as it is.
    Fixed(Value),
    /// An object, its keys in order.
    Object(Vec<(String, JsonTemplate)>),
    /// A list.
    List(Vec<JsonTemplate>),
}
