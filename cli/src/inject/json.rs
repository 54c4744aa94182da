//! JSON documents, one after the other, each as a [`Node`].

use std::ops::Range;

use serde_json::Value;

use super::node::{Entry, Kind, Node, Style, SyntaxError};

/// How deep objects and arrays nest at most; as `serde_json` has it.
const MAX_DEPTH: usize = 128;

/// Reads the document that begins at `start`, after white space; `None` at the end of the text.
pub(super) fn read(text: &str, start: usize) -> Result<Option<Node>, SyntaxError> {
    let mut reader = Reader { text, at: start };
    reader.skip_space();
    if reader.at == text.len() {
        return Ok(None);
    }
    reader.value(0).map(Some)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

// === impl Reader ===

impl Reader<'_> {
    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at = self.text.len() - rest.len();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::at(self.text, self.at, reason))
    }

    /// Takes this byte, which is ASCII, if it is the next after white space.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return self.wrong(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        self.skip_space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            _ => Kind::Scalar(self.scalar()?.1),
        };
        Ok(Node {
            span: start..self.at,
            kind,
            decorated: false,
        })
    }

    fn object(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        while !self.take(b'}') {
            if !entries.is_empty() && !self.take(b',') {
                return self.wrong("expected , or }");
            }
            self.skip_space();
            let (key_span, key) = self.scalar()?;
            let Value::String(key) = key else {
                return self.wrong("a key is not a string");
            };
            if entries.iter().any(|other| other.key == key) {
                return self.wrong(format!("the key {key:?} is there twice"));
            }
            if !self.take(b':') {
                return self.wrong("expected :");
            }
            let node = self.value(depth + 1)?;
            entries.push(Entry {
                key,
                key_span,
                node,
                merges: false,
            });
        }
        Ok(Kind::Mapping(Style::Flow, entries))
    }

    fn array(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.take(b']') {
            if !items.is_empty() && !self.take(b',') {
                return self.wrong("expected , or ]");
            }
            items.push(self.value(depth + 1)?);
        }
        Ok(Kind::Sequence(Style::Flow, items))
    }

    /// A string, number, boolean or null.
    fn scalar(&mut self) -> Result<(Range<usize>, Value), SyntaxError> {
        let start = self.at;
        let mut values = serde_json::Deserializer::from_str(&self.text[start..]).into_iter();
        match values.next() {
            Some(Ok(value @ (Value::Object(_) | Value::Array(_)))) => {
                let _: Value = value;
                self.wrong("a key is not a string")
            }
            Some(Ok(value)) => {
                self.at = start + values.byte_offset();
                Ok((start..self.at, value))
            }
            Some(Err(error)) => self.wrong(error.to_string()),
            None => self.wrong("a value is missing"),
        }
    }
}
