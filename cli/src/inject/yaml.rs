//! One YAML document as a [`Node`].

use std::{collections::HashMap, ops::Range};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::Value;

use super::{
    node::{Entry, Kind, Node, Style, SyntaxError},
    scalar,
};

/// How deep mappings and sequences nest at most. Kubernetes' own reader stops at 10 000; no object
/// has a tenth of this, and each level is a call.
const MAX_DEPTH: usize = 128;
/// How many values all aliases of a document stand for at most, so that a short text cannot take
/// all memory.
const MAX_ALIASED: usize = 100_000;

/// Reads the only document of a text; `None` if it holds nothing but comments.
pub(super) fn read(text: &str) -> Result<Option<Node>, SyntaxError> {
    let offsets = text.char_indices().map(|(byte, _)| byte);
    let mut reader = Reader {
        text,
        offsets: offsets.chain([text.len()]).collect(),
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        aliased: 0,
    };
    loop {
        match reader.next()? {
            (Event::DocumentStart(_), _) => break,
            (Event::StreamEnd, _) => return Ok(None),
            _ => {}
        }
    }
    let (event, span) = reader.next()?;
    let root = reader.node(event, span, 0)?;
    let nothing = matches!(&root.kind, Kind::Scalar(Value::Null)) && root.span.is_empty();
    Ok((!nothing).then_some(root))
}

struct Reader<'a> {
    text: &'a str,
    /// Byte of each character: the parser counts characters.
    offsets: Vec<usize>,
    parser: Parser<'a, StrInput<'a>>,
    /// What each anchor names, and of how many values that is.
    anchors: HashMap<usize, (Value, usize)>,
    aliased: usize,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), SyntaxError> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, self.text.len()..self.text.len())),
            Some(Ok((event, span))) => Ok((event, self.bytes(span))),
            Some(Err(error)) => Err(SyntaxError {
                line: error.marker().line(),
                reason: error.info().to_owned(),
            }),
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let byte = |index: usize| self.offsets.get(index).copied().unwrap_or(self.text.len());
        byte(span.start.index())..byte(span.end.index())
    }

    fn wrong<T>(&self, at: &Range<usize>, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::at(self.text, at.start, reason))
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Range<usize>,
        depth: usize,
    ) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return self.wrong(&span, format!("nested more than {MAX_DEPTH} levels deep"));
        }
        let (anchor, node) = match event {
            Event::Alias(anchor) => {
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    return self.wrong(&span, "an alias within what it names");
                };
                self.aliased += size;
                if self.aliased > MAX_ALIASED {
                    return self.wrong(&span, "the aliases stand for too many values");
                }
                let kind = Kind::Scalar(value);
                let decorated = true;
                return Ok(Node {
                    span,
                    kind,
                    decorated,
                });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let decorated = anchor != 0 || tag.is_some();
                let value = self.scalar(&text, style, tag.as_deref(), &span)?;
                let kind = Kind::Scalar(value);
                (
                    anchor,
                    Node {
                        span,
                        kind,
                        decorated,
                    },
                )
            }
            Event::SequenceStart(anchor, tag) => {
                let decorated = anchor != 0 || tag.is_some();
                (anchor, self.sequence(span, decorated, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                let decorated = anchor != 0 || tag.is_some();
                (anchor, self.mapping(span, decorated, depth)?)
            }
            _ => return self.wrong(&span, "a value is missing"),
        };
        if anchor != 0 {
            let value = node.value();
            let size = size(&value);
            self.anchors.insert(anchor, (value, size));
        }
        Ok(node)
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Range<usize>,
    ) -> Result<Value, SyntaxError> {
        let meaning = match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Some(text.into()),
            Some(tag) if !tag.is_yaml_core_schema() => {
                let reason = format!("the tag {}{} is not known", tag.handle, tag.suffix);
                return self.wrong(span, reason);
            }
            None if style != ScalarStyle::Plain => Some(text.into()),
            _ => scalar::plain(text),
        };
        match meaning {
            Some(value) => Ok(value),
            None => self.wrong(span, format!("{text} is a number that JSON does not have")),
        }
    }

    fn style(&self, span: &Range<usize>) -> Style {
        match self.text[..span.end].ends_with(['{', '[']) && !span.is_empty() {
            true => Style::Flow,
            false => Style::Block,
        }
    }

    fn sequence(
        &mut self,
        start: Range<usize>,
        decorated: bool,
        depth: usize,
    ) -> Result<Node, SyntaxError> {
        let style = self.style(&start);
        let mut items = Vec::new();
        let end = loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break span.end;
            }
            items.push(self.node(event, span, depth + 1)?);
        };
        let span = match (style, items.first(), items.last()) {
            (Style::Block, Some(first), Some(last)) => self.dash(first)..last.span.end,
            _ => start.end.saturating_sub(1).min(end)..end,
        };
        let kind = Kind::Sequence(style, items);
        Ok(Node {
            span,
            kind,
            decorated,
        })
    }

    /// Where the dash before an item of a block sequence is.
    fn dash(&self, item: &Node) -> usize {
        let before = &self.text[..item.span.start];
        before.rfind('-').unwrap_or(item.span.start)
    }

    fn mapping(
        &mut self,
        start: Range<usize>,
        decorated: bool,
        depth: usize,
    ) -> Result<Node, SyntaxError> {
        let style = self.style(&start);
        let mut entries: Vec<Entry> = Vec::new();
        let end = loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break span.end;
            }
            let entry = self.entry(event, span, depth)?;
            if entries.iter().any(|other| other.key == entry.key) {
                let reason = format!("the key {:?} is there twice", entry.key);
                return self.wrong(&entry.key_span, reason);
            }
            entries.push(entry);
        };
        let span = match (style, entries.first(), entries.last()) {
            (Style::Block, Some(first), Some(last)) => {
                first.key_span.start..last.node.span.end.max(last.key_span.end)
            }
            _ => start.end.saturating_sub(1).min(end)..end,
        };
        let kind = Kind::Mapping(style, entries);
        Ok(Node {
            span,
            kind,
            decorated,
        })
    }

    fn entry(
        &mut self,
        event: Event<'a>,
        key_span: Range<usize>,
        depth: usize,
    ) -> Result<Entry, SyntaxError> {
        let merges =
            matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
        let key = self.node(event, key_span.clone(), depth + 1)?;
        let key = match key.kind {
            Kind::Scalar(Value::String(text)) => text,
            Kind::Scalar(scalar @ (Value::Bool(_) | Value::Number(_))) => scalar.to_string(),
            _ => return self.wrong(&key_span, "a key is not a string"),
        };
        let (event, span) = self.next()?;
        let node = self.node(event, span, depth + 1)?;
        Ok(Entry {
            key,
            key_span,
            node,
            merges,
        })
    }
}

/// Number of values in a value.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
}
