//! Access logs.

use std::path::PathBuf;

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            accesslog::v3 as pb,
            core::v3::{SubstitutionFormatString, substitution_format_string},
        },
        extensions::access_loggers::{file::v3 as file, stream::v3 as stream},
    },
    google::protobuf::{Struct, value::Kind},
};

use super::{
    at::{At, take},
    value::{inline_text, non_empty, type_name, unpack},
};
use crate::config::{
    AccessLog,
    access_log::{AccessLogFormat, AccessLogSink},
    format::Format,
};

pub(super) fn access_logs(at: &At<'_>, messages: Vec<pb::AccessLog>) -> Vec<AccessLog> {
    let converted = messages.into_iter().enumerate();
    converted
        .filter_map(|(index, message)| access_log(&at.index(index), message))
        .collect()
}

fn access_log(at: &At<'_>, message: pb::AccessLog) -> Option<AccessLog> {
    take!(at, message => pb::AccessLog {
        supported: config_type;
        ignored: name = "the type of typed_config names the access log";
        refused: filter;
    });
    let at = at.field("typed_config");
    let pb::access_log::ConfigType::TypedConfig(any) = at.required(config_type)?;
    match type_name(&any) {
        "envoy.extensions.access_loggers.file.v3.FileAccessLog" => {
            file_access_log(&at, unpack(&at, &any, codec::unpack_file_access_log)?)
        }
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" => {
            let message = unpack(&at, &any, codec::unpack_stdout_access_log)?;
            take!(at, message => stream::StdoutAccessLog { supported: access_log_format; });
            let log_format = access_log_format.map(|format| match format {
                stream::stdout_access_log::AccessLogFormat::LogFormat(format) => format,
            });
            Some(AccessLog {
                sink: AccessLogSink::Stdout,
                format: format(&at, log_format)?,
            })
        }
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" => {
            let message = unpack(&at, &any, codec::unpack_stderr_access_log)?;
            take!(at, message => stream::StderrAccessLog { supported: access_log_format; });
            let log_format = access_log_format.map(|format| match format {
                stream::stderr_access_log::AccessLogFormat::LogFormat(format) => format,
            });
            Some(AccessLog {
                sink: AccessLogSink::Stderr,
                format: format(&at, log_format)?,
            })
        }
        other => {
            at.unsupported(format!("access log {other}"));
            None
        }
    }
}

fn file_access_log(at: &At<'_>, message: file::FileAccessLog) -> Option<AccessLog> {
    use file::file_access_log::AccessLogFormat as Pb;

    take!(at, message => file::FileAccessLog { supported: path, access_log_format; });
    let sink = match non_empty(&at.field("path"), path).as_str() {
        "/dev/stdout" => AccessLogSink::Stdout,
        "/dev/stderr" => AccessLogSink::Stderr,
        path => AccessLogSink::File(PathBuf::from(path)),
    };
    #[allow(deprecated)]
    let format = match access_log_format {
        None => AccessLogFormat::Default,
        Some(Pb::LogFormat(message)) => format(at, Some(message))?,
        Some(Pb::Format(text)) => text_format(&at.field("format"), &text)?,
        Some(Pb::JsonFormat(message)) => json_format(&at.field("json_format"), message),
        Some(Pb::TypedJsonFormat(message)) => json_format(&at.field("typed_json_format"), message),
    };
    Some(AccessLog { sink, format })
}

fn format(at: &At<'_>, message: Option<SubstitutionFormatString>) -> Option<AccessLogFormat> {
    use substitution_format_string::Format as Pb;

    let at = at.field("log_format");
    let Some(message) = message else {
        return Some(AccessLogFormat::Default);
    };
    take!(at, message => SubstitutionFormatString {
        supported: format;
        refused: omit_empty_values, content_type, formatters, json_format_options;
    });
    #[allow(deprecated)]
    match at.field("format").required(format)? {
        Pb::TextFormat(text) => text_format(&at.field("text_format"), &text),
        Pb::TextFormatSource(source) => {
            let at = at.field("text_format_source");
            let text = String::from_utf8(inline_text(&at, source)?);
            text.map_err(|_| at.error("not UTF-8"))
                .ok()
                .and_then(|text| text_format(&at, &text))
        }
        Pb::JsonFormat(message) => Some(json_format(&at.field("json_format"), message)),
    }
}

fn text_format(at: &At<'_>, text: &str) -> Option<AccessLogFormat> {
    let format = Format::parse(text).map_err(|error| at.error(error.to_string()));
    format.map(AccessLogFormat::Text).ok()
}

/// Keys in alphabetical order: a protobuf map has none of its own.
fn json_format(at: &At<'_>, message: Struct) -> AccessLogFormat {
    let mut fields = Vec::with_capacity(message.fields.len());
    for (key, value) in message.fields {
        let at = at.key(&key);
        match value.kind {
            Some(Kind::StringValue(text)) => match Format::parse(&text) {
                Ok(format) => fields.push((key, format)),
                Err(error) => at.error(error.to_string()),
            },
            _ => at.unsupported("a value that is not text"),
        }
    }
    fields.sort_by(|(left, _), (right, _)| left.cmp(right));
    AccessLogFormat::Json(fields)
}
