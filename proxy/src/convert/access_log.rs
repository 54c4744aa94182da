//! Access logs.

mod filter;

use std::{path::PathBuf, sync::Arc};

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            accesslog::v3 as pb,
            core::v3::{
                SubstitutionFormatString, TypedExtensionConfig, substitution_format_string,
            },
        },
        extensions::access_loggers::{file::v3 as file, stream::v3 as stream},
    },
    google::protobuf::{Struct, Value, value::Kind},
};

use super::{
    at::{At, take},
    value::{inline_text, json, non_empty, type_name, unpack},
};
use crate::config::{
    AccessLog,
    access_log::{AccessLogFormat, AccessLogSink, JsonTemplate},
    format::{Format, Formatters},
};

/// Extensions of a format, and whether what has no value is left out.
type Options = (Formatters, bool);

pub(super) fn access_logs(at: &At<'_>, messages: Vec<pb::AccessLog>) -> Vec<AccessLog> {
    let converted = messages.into_iter().enumerate();
    converted
        .filter_map(|(index, message)| access_log(&at.index(index), message))
        .collect()
}

fn access_log(at: &At<'_>, message: pb::AccessLog) -> Option<AccessLog> {
    take!(at, message => pb::AccessLog {
        supported: config_type, filter;
        ignored: name = "the type of typed_config names the access log";
    });
    let filter = match filter {
        Some(message) => Some(Arc::new(filter::filter(&at.field("filter"), message)?)),
        None => None,
    };
    let (sink, format) = logger(at, config_type)?;
    Some(AccessLog {
        filter,
        sink,
        format,
    })
}

/// Where lines go, and how they read.
fn logger(
    at: &At<'_>,
    config_type: Option<pb::access_log::ConfigType>,
) -> Option<(AccessLogSink, AccessLogFormat)> {
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
            Some((AccessLogSink::Stdout, format(&at, log_format)?))
        }
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" => {
            let message = unpack(&at, &any, codec::unpack_stderr_access_log)?;
            take!(at, message => stream::StderrAccessLog { supported: access_log_format; });
            let log_format = access_log_format.map(|format| match format {
                stream::stderr_access_log::AccessLogFormat::LogFormat(format) => format,
            });
            Some((AccessLogSink::Stderr, format(&at, log_format)?))
        }
        other => {
            at.unsupported(format!("access log {other}"));
            None
        }
    }
}

fn file_access_log(
    at: &At<'_>,
    message: file::FileAccessLog,
) -> Option<(AccessLogSink, AccessLogFormat)> {
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
        Some(Pb::Format(text)) => text_format(&at.field("format"), &text, Options::default())?,
        Some(Pb::JsonFormat(message)) => {
            json_format(&at.field("json_format"), message, Options::default())?
        }
        Some(Pb::TypedJsonFormat(message)) => {
            json_format(&at.field("typed_json_format"), message, Options::default())?
        }
    };
    Some((sink, format))
}

fn format(at: &At<'_>, message: Option<SubstitutionFormatString>) -> Option<AccessLogFormat> {
    use substitution_format_string::Format as Pb;

    let at = at.field("log_format");
    let Some(message) = message else {
        return Some(AccessLogFormat::Default);
    };
    take!(at, message => SubstitutionFormatString {
        supported: format, omit_empty_values, formatters;
        ignored: json_format_options = "the fields of an object are sorted whatever it says";
        refused: content_type;
    });
    let formatters = formatters_of(&at.field("formatters"), formatters);
    let options = (formatters, omit_empty_values);
    #[allow(deprecated)]
    match at.field("format").required(format)? {
        Pb::TextFormat(text) => text_format(&at.field("text_format"), &text, options),
        Pb::TextFormatSource(source) => {
            let at = at.field("text_format_source");
            let text = String::from_utf8(inline_text(&at, source)?);
            text.map_err(|_| at.error("not UTF-8"))
                .ok()
                .and_then(|text| text_format(&at, &text, options))
        }
        Pb::JsonFormat(message) => json_format(&at.field("json_format"), message, options),
    }
}

/// Formatters, whose commands are then known.
fn formatters_of(at: &At<'_>, messages: Vec<TypedExtensionConfig>) -> Formatters {
    let mut formatters = Formatters::default();
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, message => TypedExtensionConfig {
            supported: typed_config;
            ignored: name = "the type of typed_config names the formatter";
        });
        let at = at.field("typed_config");
        let Some(any) = at.required(typed_config) else {
            continue;
        };
        match type_name(&any) {
            // Its command is built in.
            "envoy.extensions.formatter.metadata.v3.Metadata" => {}
            "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery" => {
                formatters.req_without_query = true;
            }
            other => at.unsupported(format!("formatter {other}")),
        }
    }
    formatters
}

fn text_format(
    at: &At<'_>,
    text: &str,
    (formatters, omit_empty): Options,
) -> Option<AccessLogFormat> {
    let format = Format::parse_with(text, formatters).map_err(|error| at.error(error.to_string()));
    let format = format.ok()?;
    Some(AccessLogFormat::Text { format, omit_empty })
}

fn json_format(
    at: &At<'_>,
    message: Struct,
    (formatters, omit_empty): Options,
) -> Option<AccessLogFormat> {
    Some(AccessLogFormat::Json {
        template: object(at, message, formatters)?,
        omit_empty,
    })
}

/// Keys in alphabetical order: a protobuf map has none of its own.
fn object(at: &At<'_>, message: Struct, formatters: Formatters) -> Option<JsonTemplate> {
    let fields = message.fields.into_iter().map(|(key, value)| {
        let value = template(&at.key(&key), value, formatters)?;
        Some((key, value))
    });
    // All of them, so that every error is said.
    let fields: Vec<_> = fields.collect();
    let mut fields: Vec<_> = fields.into_iter().collect::<Option<_>>()?;
    fields.sort_by(|(left, _), (right, _)| left.cmp(right));
    Some(JsonTemplate::Object(fields))
}

fn template(at: &At<'_>, message: Value, formatters: Formatters) -> Option<JsonTemplate> {
    match message.kind {
        Some(Kind::StringValue(text)) => {
            let format = Format::parse_with(&text, formatters);
            let format = format.map_err(|error| at.error(error.to_string()));
            format.ok().map(JsonTemplate::Format)
        }
        Some(Kind::StructValue(message)) => object(at, message, formatters),
        Some(Kind::ListValue(list)) => {
            let values = list.values.into_iter().enumerate();
            let values = values.map(|(index, value)| template(&at.index(index), value, formatters));
            values.collect::<Option<_>>().map(JsonTemplate::List)
        }
        kind => Some(JsonTemplate::Fixed(json(Value { kind }))),
    }
}
