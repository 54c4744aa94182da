//! How an access log line reads.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::Facts;
use crate::config::{
    access_log::{AccessLogFormat, JsonTemplate},
    format::Format,
};

/// Envoy's default text format.
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string>
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
                       %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% \
                       %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
                       \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
                       \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// What stands for a value that is not there.
const MISSING: &str = "-";

/// The line, with its end.
pub(super) fn render(format: &AccessLogFormat, facts: &Facts<'_>) -> String {
    static DEFAULT_FORMAT: OnceLock<Format> = OnceLock::new();
    let mut line = String::with_capacity(256);
    match format {
        AccessLogFormat::Default => {
            let format = DEFAULT_FORMAT.get_or_init(|| Format::parse(DEFAULT).unwrap_or_default());
            format.render(facts, MISSING, &mut line);
        }
        AccessLogFormat::Text { format, omit_empty } => {
            format.render(facts, missing(*omit_empty), &mut line);
        }
        AccessLogFormat::Json {
            template,
            omit_empty,
        } => {
            let value = json(template, facts, *omit_empty);
            line = value.unwrap_or_default().to_string();
            line.push('\n');
        }
    }
    line
}

fn missing(omit_empty: bool) -> &'static str {
    match omit_empty {
        true => "",
        false => MISSING,
    }
}

/// None for what is left out.
fn json(template: &JsonTemplate, facts: &Facts<'_>, omit_empty: bool) -> Option<Value> {
    match template {
        JsonTemplate::Format(format) => {
            let value = format.to_json(facts, missing(omit_empty));
            match omit_empty {
                true => value,
                false => Some(value.unwrap_or_default()),
            }
        }
        JsonTemplate::Fixed(value) => Some(value.clone()),
        JsonTemplate::Object(fields) => {
            let fields = fields.iter();
            let shown = fields
                .filter_map(|(name, value)| Some((name.clone(), json(value, facts, omit_empty)?)));
            Some(Value::Object(shown.collect::<Map<_, _>>()))
        }
        JsonTemplate::List(values) => {
            let values = values.iter();
            Some(
                values
                    .filter_map(|value| json(value, facts, omit_empty))
                    .collect(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_format_can_be_read() {
        assert!(Format::parse(DEFAULT).is_ok());
    }
}
