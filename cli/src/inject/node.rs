//! A document as a tree that knows where in the text each part is.

use std::ops::Range;

use serde_json::{Map, Value};

/// A value in a text.
#[derive(Debug)]
pub(super) struct Node {
    /// Its bytes. For a block mapping, from its first key to the end of its last value; for a block
    /// sequence, from its first dash on.
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
    /// It has a tag or an anchor, which stands before its span.
    pub(super) decorated: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A scalar, or an alias for what stands elsewhere.
    Scalar(Value),
    Mapping(Style, Vec<Entry>),
    Sequence(Style, Vec<Node>),
}

/// How a mapping or sequence is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// By indentation.
    Block,
    /// In brackets, as JSON is.
    Flow,
}

/// A key of a mapping, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) node: Node,
    /// A merge key: its value's entries are the mapping's where that has none of the name.
    pub(super) merges: bool,
}

/// A text that is not a document Kubernetes would read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) reason: String,
}

// === impl Node ===

impl Node {
    /// What it means.
    pub(super) fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::Sequence(_, items) => items.iter().map(Self::value).collect(),
            Kind::Mapping(_, entries) => {
                let mut members = Map::new();
                for entry in entries.iter().filter(|entry| !entry.merges) {
                    members.insert(entry.key.clone(), entry.node.value());
                }
                for entry in entries.iter().filter(|entry| entry.merges) {
                    merge(&mut members, entry.node.value());
                }
                members.into()
            }
        }
    }
}

/// Adds the members of a merged mapping, or of each of several, that are not there.
fn merge(members: &mut Map<String, Value>, merged: Value) {
    match merged {
        Value::Object(merged) => {
            for (key, value) in merged {
                members.entry(key).or_insert(value);
            }
        }
        Value::Array(list) => list.into_iter().for_each(|merged| merge(members, merged)),
        _ => {}
    }
}

// === impl SyntaxError ===

impl SyntaxError {
    pub(super) fn at(text: &str, byte: usize, reason: impl Into<String>) -> Self {
        let before = text.as_bytes().iter().take(byte);
        Self {
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            reason: reason.into(),
        }
    }
}
