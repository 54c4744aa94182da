//! Envoy's substitution format: text with `%COMMAND(argument):length%` in it, as used by access
//! logs and by header values. Read once into a list of parts.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>

mod parse;

pub use parse::FormatError;

/// A substitution format string, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Format {
    /// Literals and commands in order.
    pub parts: Vec<Part>,
}

/// A piece of a [`Format`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands (`%%` is one `%`).
    Literal(String),
    /// A command, cut to `max_length` bytes if set.
    Command {
        /// What to print.
        command: Command,
        /// `%COMMAND:length%`
        max_length: Option<usize>,
    },
}

/// The commands that are supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `REQ(X?Y)`: request header X, else Y; lower case.
    RequestHeader(String, Option<String>),
    /// `RESP(X?Y)`
    ResponseHeader(String, Option<String>),
    /// `START_TIME`, in RFC 3339 with milliseconds.
    StartTime,
    /// `PROTOCOL`
    Protocol,
    /// `RESPONSE_CODE`
    ResponseCode,
    /// `RESPONSE_CODE_DETAILS`
    ResponseCodeDetails,
    /// `RESPONSE_FLAGS`
    ResponseFlags,
    /// `BYTES_RECEIVED`
    BytesReceived,
    /// `BYTES_SENT`
    BytesSent,
    /// `DURATION`
    Duration,
    /// `UPSTREAM_HOST`
    UpstreamHost,
    /// `UPSTREAM_CLUSTER`
    UpstreamCluster,
    /// `UPSTREAM_LOCAL_ADDRESS`
    UpstreamLocalAddress,
    /// `DOWNSTREAM_LOCAL_ADDRESS`
    DownstreamLocalAddress,
    /// `DOWNSTREAM_LOCAL_PORT`
    DownstreamLocalPort,
    /// `DOWNSTREAM_REMOTE_ADDRESS`
    DownstreamRemoteAddress,
    /// `DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT`
    DownstreamRemoteAddressWithoutPort,
    /// `DOWNSTREAM_DIRECT_REMOTE_ADDRESS`
    DownstreamDirectRemoteAddress,
    /// `REQUESTED_SERVER_NAME`
    RequestedServerName,
    /// `ROUTE_NAME`
    RouteName,
    /// `FILTER_CHAIN_NAME`
    FilterChainName,
}

/// Gives the values that a [`Format`] asks for. `None` prints as `-` in access logs.
pub trait Values {
    /// Appends the value of `command` to `out`; false if there is none.
    fn append(&self, command: &Command, out: &mut String) -> bool;
}

// === impl Format ===

impl Format {
    /// A format without commands.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        match text {
            "" => Self::default(),
            text => Self {
                parts: vec![Part::Literal(text.to_owned())],
            },
        }
    }

    /// Reads a format string. Commands that are not supported are an error that names them.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        parse::parse(text)
    }

    /// The text, if there is no command in it.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text with the values filled in; `missing` stands for one that is not there.
    pub fn render(&self, values: &dyn Values, missing: &str, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Command {
                    command,
                    max_length,
                } => {
                    let start = out.len();
                    if !values.append(command, out) {
                        out.truncate(start);
                        out.push_str(missing);
                    }
                    if let Some(length) = max_length {
                        out.truncate(out.floor_char_boundary(start.saturating_add(*length)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(&'static str);

    impl Values for Only {
        fn append(&self, command: &Command, out: &mut String) -> bool {
            if matches!(command, Command::Protocol) {
                out.push_str(self.0);
            }
            matches!(command, Command::Protocol)
        }
    }

    fn render(text: &str) -> String {
        let mut out = String::new();
        Format::parse(text)
            .expect(text)
            .render(&Only("HTTP/1.1"), "-", &mut out);
        out
    }

    #[test]
    fn commands_are_filled_in_and_cut() {
        assert_eq!(render("a %PROTOCOL% %DURATION%\n"), "a HTTP/1.1 -\n");
        assert_eq!(render("100%% %PROTOCOL:4%"), "100% HTTP");
        assert_eq!(render("%REQ(X-A?:PATH):3%"), "-");
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (text, names) in [
            ("%NO_SUCH%", "NO_SUCH"),
            ("50% off", "50% off"),
            ("%REQ()%", "REQ"),
            ("%REQ(a", "%"),
        ] {
            let error = Format::parse(text).expect_err(text).to_string();
            assert!(error.contains(names), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[%A-Z():?0-9a-z é]{0,40}") {
            if let Ok(format) = Format::parse(&text) {
                format.render(&Only("é"), "-", &mut String::new());
            }
        }
    }
}
