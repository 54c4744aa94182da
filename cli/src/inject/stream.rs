//! A file as the documents in it, and documents with others in their place.

use serde_json::Value;

use super::{
    edit::edit,
    json,
    node::{Kind, Node, Style, SyntaxError},
    render, yaml,
};

/// The text of a file, cut into documents. Put together again they are the file.
pub(super) struct Stream<'a> {
    pub(super) format: Format,
    pub(super) pieces: Vec<Piece<'a>>,
}

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Yaml,
}

/// A document with what stands around it.
pub(super) struct Piece<'a> {
    text: &'a str,
    format: Format,
    /// `None` where there is nothing but comments.
    root: Option<Node>,
}

// === impl Stream ===

impl<'a> Stream<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, SyntaxError> {
        if !text.trim_start().starts_with('{') {
            let pieces = yaml_pieces(text)?;
            let format = Format::Yaml;
            return Ok(Self { format, pieces });
        }
        match json_pieces(text) {
            Ok(pieces) => Ok(Self {
                format: Format::Json,
                pieces,
            }),
            // YAML may begin with a brace as well.
            Err(error) => Ok(Self {
                format: Format::Yaml,
                pieces: yaml_pieces(text).map_err(|_| error)?,
            }),
        }
    }
}

fn json_pieces(text: &str) -> Result<Vec<Piece<'_>>, SyntaxError> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut start = 0;
    loop {
        let node = json::read(text, start)?;
        let end = node.as_ref().map_or(text.len(), |node| node.span.end);
        let piece = &text[start..end];
        pieces.push(Piece {
            text: piece,
            format: Format::Json,
            // Read again, so that its places are those of the piece.
            root: json::read(piece, 0)?,
        });
        start = end;
        if node.is_none() {
            return Ok(pieces);
        }
    }
}

fn yaml_pieces(text: &str) -> Result<Vec<Piece<'_>>, SyntaxError> {
    let mut pieces = Vec::new();
    let mut lines_before = 0;
    for piece in split(text) {
        let root = yaml::read(piece).map_err(|error| SyntaxError {
            line: error.line + lines_before,
            ..error
        })?;
        pieces.push(Piece {
            text: piece,
            format: Format::Yaml,
            root,
        });
        lines_before += piece.bytes().filter(|byte| *byte == b'\n').count();
    }
    Ok(pieces)
}

/// Cuts before each line that begins a document, and after each that ends one.
fn split(text: &str) -> Vec<&str> {
    let marks = |line: &str, mark: &str| {
        let rest = line.strip_prefix(mark);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    // Comments and directives belong to the document that they stand before.
    let mut only_head = true;
    for line in text.split_inclusive('\n') {
        let begins = marks(line, "---");
        if begins && !only_head {
            pieces.push(&text[start..at]);
            start = at;
        }
        let is_head = line.trim().is_empty() || line.starts_with(['#', '%']);
        only_head = is_head && only_head;
        at += line.len();
        if marks(line, "...") {
            pieces.push(&text[start..at]);
            start = at;
            only_head = true;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

// === impl Piece ===

impl Piece<'_> {
    /// The document; `None` if there is none.
    pub(super) fn value(&self) -> Option<Value> {
        self.root.as_ref().map(Node::value)
    }

    /// The text as it was.
    pub(super) fn text(&self) -> &str {
        self.text
    }

    /// The text with `value` for its document. What can stay as it was does; if nothing can, the
    /// second is `true`.
    pub(super) fn with(&self, value: &Value) -> (String, bool) {
        let Some(root) = &self.root else {
            return (self.text.to_owned(), false);
        };
        let says = |text: &str| self.read(text).is_some_and(|read| read == *value);
        if let Some(edited) = edit(self.text, root, value).filter(|edited| says(edited)) {
            return (edited, false);
        }
        let head = &self.text[..root.span.start];
        let is_block = matches!(
            root.kind,
            Kind::Mapping(Style::Block, _) | Kind::Sequence(Style::Block, _)
        );
        // Where a value begins on the line of the mark, or after a tag, the head cannot stay.
        let head = match is_block && (head.is_empty() || head.ends_with('\n')) {
            true => head,
            false => "---\n",
        };
        (format!("{head}{}", render::block(value, 0)), true)
    }

    fn read(&self, text: &str) -> Option<Value> {
        let root = match self.format {
            Format::Json => json::read(text, 0),
            Format::Yaml => yaml::read(text),
        };
        root.ok().flatten().map(|node| node.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_file_again() {
        for (text, documents) in [
            ("", 0),
            ("# only\n", 0),
            ("a: 1", 1),
            (
                "# head\n---\na: 1\n---\n# none\n---\nb: 2\n...\n# tail\n",
                2,
            ),
            ("%YAML 1.2\n---\na: 1\n", 1),
            ("--- # c\na: |\n  x\n--- {b: 1}\n", 2),
            ("\u{feff}a: 1\r\n---\r\nb: 2\r\n", 2),
            (" {\"a\":1}\n{\"b\": 2}\n", 2),
            ("{a: 1}\n---\nb: 2\n", 2),
        ] {
            let stream = Stream::read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            let again: String = stream.pieces.iter().map(Piece::text).collect();
            assert_eq!(again, text);
            let found = stream.pieces.iter().filter_map(Piece::value).count();
            assert_eq!(found, documents, "{text:?}");
        }
    }

    #[test]
    fn an_error_names_the_line_of_the_file() {
        for (text, message) in [
            (
                "a: 1\n---\nb: 1\nb: 2\n",
                "line 4: the key \"b\" is there twice",
            ),
            (
                "a: .inf\n",
                "line 1: .inf is a number that JSON does not have",
            ),
            ("a: !x 1\n", "line 1: the tag !x is not known"),
            ("[1]: 2\n", "line 1: a key is not a string"),
            ("{\"a\": 1,\n\"a\": 2}", "line 2: the key"),
        ] {
            let error = Stream::read(text).err().expect(text).to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn aliases_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{alias}]\n");
        }
        let error = Stream::read(&text).err().expect("refused").to_string();
        assert!(error.contains("aliases"), "{error}");
    }
}
