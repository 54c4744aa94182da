//! Makes a text say another value, changing as little of it as will do: comments, order, quoting
//! and indentation of all that stays are kept.

use std::ops::Range;

use serde_json::{Map, Value};

use super::{
    node::{Entry, Kind, Node, Style},
    render::{self, Layout},
};

/// A text that is being edited.
pub(super) struct Edit<'a> {
    text: &'a str,
}

/// Where an element of a changed sequence comes from.
enum Origin<'a> {
    /// It is this one of the elements before, perhaps changed.
    Item(usize),
    New(&'a Value),
}

/// The text with its document, which `root` is the tree of, saying `value`. `None` if it is written
/// in a way that is not edited here.
pub(super) fn edit(text: &str, root: &Node, value: &Value) -> Option<String> {
    let edit = Edit { text };
    let (before, after) = match root.style() {
        Style::Flow => (edit.flow(root, value)?, root.span.end),
        Style::Block => (edit.block(root, value)?, edit.line_end(root.span.end)),
    };
    let edited = format!(
        "{}{before}{}",
        &text[..root.region_start(text)],
        &text[after..]
    );
    Some(match text.contains("\r\n") {
        true => edited.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => edited,
    })
}

// === impl Node ===

impl Node {
    fn style(&self) -> Style {
        match &self.kind {
            Kind::Mapping(style, _) | Kind::Sequence(style, _) => *style,
            Kind::Scalar(_) => Style::Flow,
        }
    }

    /// Where [`Edit::block`] begins: a sequence's dashes include their indentation.
    fn region_start(&self, text: &str) -> usize {
        match &self.kind {
            Kind::Sequence(Style::Block, _) => line_start(text, self.span.start),
            _ => self.span.start,
        }
    }

    /// Whether it can be edited in part to say `value`.
    fn takes(&self, value: &Value) -> bool {
        let alike = match (&self.kind, value) {
            (Kind::Mapping(style, entries), Value::Object(members)) => {
                let empty = entries.is_empty() || members.is_empty();
                *style == Style::Flow || !empty
            }
            (Kind::Sequence(style, items), Value::Array(values)) => {
                let empty = items.is_empty() || values.is_empty();
                *style == Style::Flow || !empty
            }
            _ => false,
        };
        alike && !self.decorated
    }
}

fn line_start(text: &str, byte: usize) -> usize {
    text[..byte].rfind('\n').map_or(0, |newline| newline + 1)
}

// === impl Edit ===

impl Edit<'_> {
    /// The start of the line after the one that ends with, or holds, this byte.
    fn line_end(&self, byte: usize) -> usize {
        if byte > 0 && self.text.as_bytes()[byte - 1] == b'\n' {
            return byte;
        }
        let newline = self.text[byte..].find('\n');
        newline.map_or(self.text.len(), |newline| byte + newline + 1)
    }

    fn column(&self, byte: usize) -> usize {
        self.text[line_start(self.text, byte)..byte].chars().count()
    }

    /// A piece of the text, and a line break if it lacks one at its end.
    fn lines(&self, range: Range<usize>) -> String {
        let mut piece = self.text[range].to_owned();
        if !piece.is_empty() && !piece.ends_with('\n') {
            piece.push('\n');
        }
        piece
    }

    /// The lines of a block mapping or sequence, up to the end of its last, saying `value`.
    fn block(&self, node: &Node, value: &Value) -> Option<String> {
        match (&node.kind, value) {
            (Kind::Mapping(Style::Block, entries), Value::Object(members)) => {
                self.block_mapping(entries, members)
            }
            (Kind::Sequence(Style::Block, items), Value::Array(values)) => {
                self.block_sequence(node, items, values)
            }
            _ => None,
        }
    }

    fn block_mapping(&self, entries: &[Entry], members: &Map<String, Value>) -> Option<String> {
        let start = entries.first()?.key_span.start;
        let column = self.column(start);
        let indent = " ".repeat(column);
        let mut out = String::new();
        let mut from = start;
        for entry in entries {
            let end = self.line_end(entry.node.span.end.max(entry.key_span.end));
            if entry.merges {
                return None;
            }
            if let Some(value) = members.get(&entry.key) {
                if out.is_empty() {
                    // It is first now, and stands where the first began.
                    let lines = self.text[from..end].trim_start();
                    from = end - lines.len();
                }
                out += &self.block_entry(entry, from..end, value)?;
            }
            from = end;
        }
        let is_new = |key: &String| entries.iter().all(|entry| entry.key != *key);
        for (key, value) in members.iter().filter(|(key, _)| is_new(key)) {
            if !out.is_empty() {
                out += &indent;
            }
            out += &render::entry(key, value, column);
        }
        Some(out)
    }

    fn block_entry(&self, entry: &Entry, region: Range<usize>, value: &Value) -> Option<String> {
        let node = &entry.node;
        if node.value() == *value {
            return Some(self.lines(region));
        }
        if node.takes(value) {
            let head = &self.text[region.start..node.region_start(self.text)];
            if node.style() == Style::Block {
                return Some(format!("{head}{}", self.block(node, value)?));
            }
            let tail = self.lines(node.span.end..region.end);
            return Some(format!("{head}{}{tail}", self.flow(node, value)?));
        }
        // Written anew. A comment behind the old value stays on the line of the key.
        let head = &self.text[region.start..entry.key_span.end];
        let is_scalar = matches!(node.kind, Kind::Scalar(_));
        let colon = self.text[entry.key_span.end..].find(':')? + entry.key_span.end;
        let comment = &self.text[node.span.end.max(colon + 1).min(region.end)..region.end];
        let comment = if is_scalar { comment.trim_end() } else { "" };
        let after = render::after(value, self.column(entry.key_span.start));
        let (line, rest) = after.split_once('\n')?;
        Some(format!("{head}:{line}{comment}\n{rest}"))
    }

    fn block_sequence(&self, node: &Node, items: &[Node], values: &[Value]) -> Option<String> {
        let start = line_start(self.text, node.span.start);
        let indent = &self.text[start..node.span.start];
        if !indent.trim().is_empty() {
            return None;
        }
        let mut regions = Vec::new();
        let mut from = start;
        for item in items {
            let end = self.line_end(item.span.end);
            regions.push(from..end);
            from = end;
        }
        let mut out = String::new();
        for (origin, value) in origins(items, values) {
            out += &match origin {
                Origin::Item(index) => {
                    self.block_item(&items[index], regions[index].clone(), value)?
                }
                Origin::New(value) => {
                    format!("{indent}- {}", render::block(value, indent.len() + 2))
                }
            };
        }
        Some(out)
    }

    fn block_item(&self, item: &Node, region: Range<usize>, value: &Value) -> Option<String> {
        if item.value() == *value {
            return Some(self.lines(region));
        }
        if !item.takes(value) {
            return None;
        }
        let head = &self.text[region.start..item.region_start(self.text)];
        if item.style() == Style::Block {
            return Some(format!("{head}{}", self.block(item, value)?));
        }
        let tail = self.lines(item.span.end..region.end);
        Some(format!("{head}{}{tail}", self.flow(item, value)?))
    }

    /// A value in brackets, from the first to the last of them, saying `value`.
    fn flow(&self, node: &Node, value: &Value) -> Option<String> {
        if node.value() == *value {
            return Some(self.text[node.span.clone()].to_owned());
        }
        let source = &self.text[node.span.clone()];
        let layout = self.layout(node);
        let indent = self.indent(node.span.start);
        let inner = match layout {
            Layout::Lines(step) => indent + step,
            _ => indent,
        };
        let parts = match (&node.kind, value) {
            _ if !node.takes(value) => return Some(render::json(value, layout, indent)),
            (Kind::Mapping(_, entries), Value::Object(members)) => {
                let colon = if layout == Layout::Compact { ":" } else { ": " };
                let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
                let part = |(key, value): (&String, &Value)| {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
                        let key = render::json(&key.as_str().into(), layout, inner);
                        return Some(format!(
                            "{key}{colon}{}",
                            render::json(value, layout, inner)
                        ));
                    };
                    let head = &self.text[entry.key_span.start..entry.node.span.start];
                    Some(format!("{head}{}", self.flow(&entry.node, value)?))
                };
                let members = render::ordered(members, &keys);
                members.into_iter().map(part).collect::<Option<Vec<_>>>()?
            }
            (Kind::Sequence(_, items), Value::Array(values)) => {
                let part = |(origin, value): (Origin<'_>, &Value)| match origin {
                    Origin::Item(index) => self.flow(&items[index], value),
                    Origin::New(value) => Some(render::json(value, layout, inner)),
                };
                let origins = origins(items, values);
                origins.into_iter().map(part).collect::<Option<Vec<_>>>()?
            }
            _ => return None,
        };
        let (open, close) = (source.chars().next()?, source.chars().next_back()?);
        Some(render::brackets(open, &parts, close, layout, indent))
    }

    /// How a value in brackets is laid out; as what it stands in, if it does not show.
    fn layout(&self, node: &Node) -> Layout {
        let first = match &node.kind {
            Kind::Mapping(_, entries) => entries.first().map(|entry| entry.key_span.start),
            Kind::Sequence(_, items) => items.first().map(|item| item.span.start),
            Kind::Scalar(_) => None,
        };
        let source = &self.text[node.span.clone()];
        match first {
            Some(first) if self.text[node.span.start..first].contains('\n') => {
                let step = self
                    .indent(first)
                    .saturating_sub(self.indent(node.span.start));
                Layout::Lines(step)
            }
            None if self.text.trim_start().starts_with("{\n") => {
                // A document that is laid out over lines, by the step of its first.
                let first = self.text.find('"').unwrap_or_default();
                Layout::Lines(self.indent(first))
            }
            Some(_) if source.contains(": ") || source.contains(", ") => Layout::Line,
            _ if self.text.contains(": ") => Layout::Line,
            _ => Layout::Compact,
        }
    }

    /// How far the line that holds this byte is indented.
    fn indent(&self, byte: usize) -> usize {
        let line = &self.text[line_start(self.text, byte)..byte];
        line.len() - line.trim_start_matches([' ', '\t']).len()
    }
}

/// Where each of `values` comes from: an equal one of `items`, or else one of the same name.
fn origins<'a>(items: &[Node], values: &'a [Value]) -> Vec<(Origin<'a>, &'a Value)> {
    let before: Vec<Value> = items.iter().map(Node::value).collect();
    let mut taken = vec![false; items.len()];
    let mut from: Vec<Option<usize>> = vec![None; values.len()];
    for alike in [equal, same_name] {
        for (value, from) in values.iter().zip(&mut from) {
            if from.is_some() {
                continue;
            }
            let found = (0..before.len()).find(|at| !taken[*at] && alike(&before[*at], value));
            if let Some(index) = found {
                taken[index] = true;
                *from = Some(index);
            }
        }
    }
    let origin = |(value, from): (&'a Value, Option<usize>)| {
        (from.map_or(Origin::New(value), Origin::Item), value)
    };
    values.iter().zip(from).map(origin).collect()
}

fn equal(a: &Value, b: &Value) -> bool {
    a == b
}

fn same_name(a: &Value, b: &Value) -> bool {
    a["name"].is_string() && a["name"] == b["name"]
}

#[cfg(test)]
mod tests;
