//! Format strings with their values filled in, for access logs and for header values.

use serde_json::Value;

use crate::{
    config::format::{Command, Format, MetadataOf, Part, ValueKind},
    metadata::Metadata,
};

/// Gives the values that a [`Format`] asks for. `None` prints as `-` in access logs.
pub trait Values {
    /// Appends the value of `command` to `out`; false if there is none.
    fn append(&self, command: &Command, out: &mut String) -> bool;

    /// The value of a command whose kind is [`ValueKind::Any`]; none if there is none.
    fn any(&self, command: &Command) -> Option<Value> {
        let mut text = String::new();
        self.append(command, &mut text).then(|| text.into())
    }
}

/// Values, and what filters have said so far.
pub struct WithMetadata<'a> {
    /// Gives all else.
    pub info: &'a dyn Values,
    /// For `%DYNAMIC_METADATA()%`.
    pub metadata: &'a Metadata,
}

// === impl WithMetadata ===

impl Values for WithMetadata<'_> {
    fn append(&self, command: &Command, out: &mut String) -> bool {
        match command {
            Command::Metadata(MetadataOf::Dynamic, path) => {
                self.metadata.print(path, out).is_some()
            }
            command => self.info.append(command, out),
        }
    }
}

/// Values where there is nothing to tell of.
#[cfg(test)]
pub(crate) struct NoValues;

// === impl NoValues ===

#[cfg(test)]
impl Values for NoValues {
    fn append(&self, _: &Command, _: &mut String) -> bool {
        false
    }
}

// === impl Format ===

impl Format {
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
                    keep_to_one_line(out, start);
                    if let Some(length) = max_length {
                        out.truncate(out.floor_char_boundary(start.saturating_add(*length)));
                    }
                }
            }
        }
    }
}

impl Format {
    /// The value as JSON has it: of a single command in its own type, or none where there is no value;
    /// else text, in which `missing` stands for one that is not there.
    pub fn to_json(&self, values: &dyn Values, missing: &str) -> Option<Value> {
        if let [
            Part::Command {
                command,
                max_length,
            },
        ] = self.parts.as_slice()
        {
            return typed(values, command, *max_length);
        }
        let mut text = String::new();
        self.render(values, missing, &mut text);
        Some(text.into())
    }
}

/// The value of a command in its own type.
pub(crate) fn typed(
    values: &dyn Values,
    command: &Command,
    max_length: Option<usize>,
) -> Option<Value> {
    let value = match command.kind() {
        ValueKind::Any => values.any(command)?,
        kind => {
            let mut text = String::new();
            if !values.append(command, &mut text) {
                return None;
            }
            match (kind, text.parse::<i64>()) {
                (ValueKind::Number, Ok(number)) => number.into(),
                _ => text.into(),
            }
        }
    };
    Some(match (value, max_length) {
        (Value::String(mut text), Some(length)) => {
            text.truncate(text.floor_char_boundary(length));
            text.into()
        }
        (value, _) => value,
    })
}

/// Whatever a value says, it ends neither a line of a log nor a header: names of a TLS client, for one,
/// are any text. Headers cannot have such characters, but for a tab.
fn keep_to_one_line(out: &mut String, start: usize) {
    let is_odd = |byte: u8| !(b' '..0x7f).contains(&byte);
    if !out.as_bytes()[start..].iter().copied().any(is_odd) {
        return;
    }
    let ends = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
    if out[start..].contains(ends) {
        let value = out.split_off(start);
        out.extend(value.chars().map(|c| if ends(c) { '_' } else { c }));
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
    fn no_value_ends_a_line() {
        for (value, expected) in [
            ("a\r\nb: c", "a__b: c"),
            ("a\u{85}\u{2028}\u{2029}\0\u{7f}\u{1b}b", "a______b"),
            ("\u{e9}\t\"\\", "\u{e9}\t\"\\"),
        ] {
            let mut out = String::new();
            let format = Format::parse("x %PROTOCOL%\n").expect("a format");
            format.render(&Only(value), "-", &mut out);
            assert_eq!(out, format!("x {expected}\n"));
        }
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
