//! What was seen of a message, whatever the version of HTTP.

/// A message, as far as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// `200`, or `GET /path`.
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// `whole`, `cut`, `reset <code>`; none: it goes on.
    pub(crate) end: Option<String>,
}

// === impl Seen ===

impl Seen {
    /// Whether another message follows it: 1xx.
    pub(crate) fn is_informational(&self) -> bool {
        self.start.len() == 3 && self.start.starts_with('1')
    }

    /// The value of a field; several are joined.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let named = self.fields.iter().filter(|(known, _)| known == name);
        let values: Vec<_> = named.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.start.clone()];
        let fields = self.fields.iter();
        lines.extend(fields.map(|(name, value)| format!("{name}: {value}")));
        if !self.body.is_empty() {
            lines.push(format!("body: {}", String::from_utf8_lossy(&self.body)));
        }
        let trailers = self.trailers.iter();
        lines.extend(trailers.map(|(name, value)| format!("trailer {name}: {value}")));
        lines.push(self.end.clone().unwrap_or_else(|| "open".to_owned()));
        lines
    }
}

/// All messages, one line for each thing.
pub(crate) fn lines<'s>(all: impl IntoIterator<Item = &'s Seen>) -> Vec<String> {
    let mut lines = Vec::new();
    for seen in all {
        if !lines.is_empty() {
            lines.push("---".to_owned());
        }
        lines.extend(seen.lines());
    }
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    lines
}
