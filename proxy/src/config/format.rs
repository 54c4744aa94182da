//! Envoy's substitution format: text with `%COMMAND(argument):length%` in it, as used by access
//! logs and by header values. Read once into a list of parts.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/substitution_formatter>

mod command;
mod parse;
mod time;

pub use crate::metadata::FilterStateFormat;
pub use command::{
    AddressOf, AddressPart, Command, Count, GrpcStatusFormat, HostSource, MetadataOf, PathSource,
    Precision, ServerNameChoice, Side, Span, TimeOf, TimePoint, TlsField, ValueKind,
};
pub use parse::FormatError;
pub use time::{TimeFormat, TimePiece};

/// Extensions whose commands a format may have: `formatters`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Formatters {
    /// `envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery`: `REQ_WITHOUT_QUERY`
    pub req_without_query: bool,
}

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

    /// Reads a format string.
    ///
    /// # Errors
    /// It is no format, or has a command that is not supported, which is named.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        parse::parse(text, Formatters::default())
    }

    /// The same, with commands of extensions.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with(text: &str, formatters: Formatters) -> Result<Self, FormatError> {
        parse::parse(text, formatters)
    }

    /// The same for the value of a header, which is made before what access logs alone are told.
    ///
    /// # Errors
    /// As [`Self::parse`], and for a command whose value is known only where a log is written.
    pub fn parse_for_header(text: &str) -> Result<Self, FormatError> {
        let format = Self::parse(text)?;
        let of_logs = |part: &&Part| match part {
            Part::Literal(_) => false,
            Part::Command { command, .. } => command.is_of_logs(),
        };
        match format.parts.iter().find(of_logs) {
            Some(_) => Err(FormatError::OnlyInLogs(text.to_owned())),
            None => Ok(format),
        }
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
}
