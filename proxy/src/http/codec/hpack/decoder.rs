//! Reads field sections.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

use super::{
    field::{Field, Name},
    huffman,
    integer::{Read, read},
    tables::{STATIC, Table, static_field},
};

/// Size of the table, as we announce it by saying nothing (RFC 9113 section 6.5.2).
const TABLE: usize = 4096;
/// Values share pieces of memory of this size: the values of many requests, but not so many that
/// one that stays for long holds much.
const PIECE_SIZE: usize = 4096;
/// Values above this size have memory of their own.
const SHARED: usize = 1024;

thread_local! {
    /// The piece of memory that values of all connections of a worker share, and memory in which
    /// text is decoded.
    static PIECE: RefCell<BytesMut> = RefCell::default();
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Reads field sections. What was read before decides what the next mean.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table<Field>,
    /// A section has begun, so that the table's size cannot change.
    is_within: bool,
}

/// The section is no HPACK, or longer than it may be. Nothing that follows on the connection can
/// be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A literal, as it is on the wire.
struct Literal {
    is_coded: bool,
    from: usize,
    to: usize,
}

// === impl Decoder ===

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: Table::new(TABLE),
            is_within: false,
        }
    }
}

impl Decoder {
    /// Reads the fields that are whole, and says how many octets they had. What is left is the
    /// beginning of a field, to which more must come.
    pub(crate) fn decode(
        &mut self,
        octets: &[u8],
        mut found: impl FnMut(Field),
    ) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < octets.len() {
            match self.next(&octets[at..], &mut found) {
                Read::Whole((), length) => at += length,
                Read::Partial => break,
                Read::Wrong => return Err(Malformed),
            }
        }
        Ok(at)
    }

    /// The section is over.
    pub(crate) fn end(&mut self) {
        self.is_within = false;
    }

    fn next(&mut self, octets: &[u8], found: &mut impl FnMut(Field)) -> Read<()> {
        let Some(first) = octets.first() else {
            return Read::Partial;
        };
        match first {
            0x80.. => match read(octets, 7) {
                Read::Whole(index, length) => match self.field(index) {
                    Some(field) => {
                        found(field.clone());
                        self.is_within = true;
                        Read::Whole((), length)
                    }
                    None => Read::Wrong,
                },
                Read::Partial => Read::Partial,
                Read::Wrong => Read::Wrong,
            },
            0x40..=0x7f => self.literal(octets, 6, found),
            0x20..=0x3f => match read(octets, 5) {
                // RFC 7541 section 4.2: at the beginning of a section.
                Read::Whole(size, length) if size <= TABLE && !self.is_within => {
                    self.table.resize(size);
                    Read::Whole((), length)
                }
                Read::Partial => Read::Partial,
                _ => Read::Wrong,
            },
            0x00..=0x1f => self.literal(octets, 4, found),
        }
    }

    fn field(&self, index: usize) -> Option<&Field> {
        match index.checked_sub(STATIC + 1) {
            Some(place) => self.table.get(place),
            None => static_field(index),
        }
    }

    /// Reads a field whose value, at least, is written out. Both parts are measured before either
    /// is read, so that a field that comes in many pieces is not read many times.
    fn literal(&mut self, octets: &[u8], prefix: u32, found: &mut impl FnMut(Field)) -> Read<()> {
        let (index, mut at) = match read(octets, prefix) {
            Read::Whole(index, length) => (index, length),
            Read::Partial => return Read::Partial,
            Read::Wrong => return Read::Wrong,
        };
        let mut name = None;
        if index == 0 {
            match Literal::measure(octets, at) {
                Read::Whole(literal, to) => {
                    name = Some(literal);
                    at = to;
                }
                Read::Partial => return Read::Partial,
                Read::Wrong => return Read::Wrong,
            }
        }
        let (value, end) = match Literal::measure(octets, at) {
            Read::Whole(value, to) => (value, to),
            Read::Partial => return Read::Partial,
            Read::Wrong => return Read::Wrong,
        };
        let is_indexed = prefix == 6;
        match self.read_literal(octets, index, name, &value, is_indexed) {
            Some(mut field) => {
                // RFC 7541 section 6.2.3: whoever passes it on must not put it in a table either.
                if octets[0] & 0xf0 == 0x10
                    && let Field::Regular(_, value) = &mut field
                {
                    value.set_sensitive(true);
                }
                self.is_within = true;
                found(field);
                Read::Whole((), end)
            }
            None => Read::Wrong,
        }
    }

    fn read_literal(
        &mut self,
        octets: &[u8],
        index: usize,
        name: Option<Literal>,
        value: &Literal,
        is_indexed: bool,
    ) -> Option<Field> {
        let name = match name {
            None => self.field(index)?.name(),
            Some(name) => name.read(octets, Name::new)?,
        };
        let value = value.read(octets, |value| keep(value, is_indexed))?;
        let field = Field::new(name, value);
        if is_indexed {
            self.table.insert(field.clone(), field.size());
        }
        Some(field)
    }
}

// === impl Literal ===

impl Literal {
    /// Finds the literal that begins at `at`. With where it ends.
    fn measure(octets: &[u8], at: usize) -> Read<Self> {
        let rest = &octets[at.min(octets.len())..];
        match read(rest, 7) {
            Read::Whole(length, head) => {
                let from = at + head;
                match from.checked_add(length) {
                    Some(to) if to <= octets.len() => {
                        let is_coded = rest[0] & 0x80 != 0;
                        Read::Whole(Self { is_coded, from, to }, to)
                    }
                    _ => Read::Partial,
                }
            }
            Read::Partial => Read::Partial,
            Read::Wrong => Read::Wrong,
        }
    }

    /// Makes something of its text. None if it is no text.
    fn read<T>(&self, octets: &[u8], make: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let octets = &octets[self.from..self.to];
        if !self.is_coded {
            return Some(make(octets));
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            huffman::decode(octets, text)?;
            Some(make(text))
        })
    }
}

/// Copies a value. One that enters the table stays for long and shares its memory with none.
fn keep(value: &[u8], is_indexed: bool) -> Bytes {
    if value.is_empty() {
        return Bytes::new();
    }
    if is_indexed || value.len() > SHARED {
        return Bytes::copy_from_slice(value);
    }
    PIECE.with_borrow_mut(|piece| {
        if piece.capacity() < value.len() {
            *piece = BytesMut::with_capacity(PIECE_SIZE);
        }
        piece.extend_from_slice(value);
        piece.split().freeze()
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// All fields as text; `!` where one is none.
    fn text(decoder: &mut Decoder, octets: &[u8]) -> Result<Vec<String>, Malformed> {
        let mut fields = Vec::new();
        let read = decoder.decode(octets, |field| {
            fields.push(match field {
                Field::Pseudo(name, value) => {
                    format!("{}: {}", name.as_str(), String::from_utf8_lossy(&value))
                }
                Field::Regular(name, value) => {
                    let mark = if value.is_sensitive() { "*" } else { "" };
                    format!("{name}: {}{mark}", value.to_str().expect("text"))
                }
                Field::NoValue(..) | Field::NoName(..) => "!".to_owned(),
            });
        })?;
        decoder.end();
        match read == octets.len() {
            true => Ok(fields),
            false => Err(Malformed),
        }
    }

    #[test]
    fn the_requests_of_the_rfc_are_read() {
        // RFC 7541 appendix C.4.
        let mut decoder = Decoder::default();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let head = [":method: GET", ":scheme: http", ":path: /"];
        let mut expected: Vec<String> = head.iter().map(|&s| s.to_owned()).collect();
        expected.push(":authority: www.example.com".to_owned());
        assert_eq!(text(&mut decoder, first), Ok(expected.clone()));
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        expected.push("cache-control: no-cache".to_owned());
        assert_eq!(text(&mut decoder, second), Ok(expected));
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\
            \x5b\xb8\xe8\xb4\xbf";
        let fields = text(&mut decoder, third).expect("a section");
        assert_eq!(
            fields[3..],
            [":authority: www.example.com", "custom-key: custom-value"]
        );
    }

    #[test]
    fn what_is_no_field_keeps_its_place() {
        let mut decoder = Decoder::default();
        assert_eq!(
            text(&mut decoder, b"\x40\x01A\x01b\x40\x01a\x01b"),
            Ok(vec!["!".to_owned(), "a: b".to_owned()])
        );
        assert_eq!(
            text(&mut decoder, b"\xbf\xbe"),
            Ok(vec!["!".to_owned(), "a: b".to_owned()])
        );
        assert_eq!(
            text(&mut decoder, b"\x00\x02:x\x01b"),
            Ok(vec!["!".to_owned()])
        );
        assert_eq!(
            text(&mut decoder, b"\x00\x01a\x02b "),
            Ok(vec!["!".to_owned()])
        );
        assert_eq!(
            text(&mut decoder, b"\x00\x01a\x02b\n"),
            Ok(vec!["!".to_owned()])
        );
        assert_eq!(
            text(&mut decoder, b"\x10\x01a\x01b"),
            Ok(vec!["a: b*".to_owned()])
        );
    }

    #[test]
    fn what_is_no_section_is_refused() {
        let cases: [(&str, &[u8]); 9] = [
            ("index 0", b"\x80"),
            ("an index beyond the tables", b"\xbe"),
            ("the name at an index beyond the tables", b"\x7f\x00\x01a"),
            ("a literal that is cut off", b"\x40\x01a\x05b"),
            ("a literal without anything", b"\x40"),
            ("an integer without end", b"\xff\x80\x80\x80\x80\x80\x80"),
            ("a table larger than allowed", b"\x3f\xe2\x1f"),
            ("a table's size behind a field", b"\x82\x20"),
            ("a text that is none", b"\x00\x01a\x81\x00"),
        ];
        for (what, octets) in cases {
            assert_eq!(
                text(&mut Decoder::default(), octets),
                Err(Malformed),
                "{what}"
            );
        }
        assert_eq!(
            text(&mut Decoder::default(), b"\x20\x3f\xe1\x1f\x82").map(|f| f.len()),
            Ok(1)
        );
    }

    #[test]
    fn a_section_in_pieces_is_the_section() {
        let octets = b"\x40\x0acustom-key\x0dcustom-header\x82\x10\x08password\x06secret\xbe";
        let whole = text(&mut Decoder::default(), octets).expect("a section");
        for cut in 0..octets.len() {
            let (mut decoder, mut count) = (Decoder::default(), 0);
            let read = decoder.decode(&octets[..cut], |_| count += 1);
            let read = read.expect("a section");
            let rest = decoder.decode(&octets[read..], |_| count += 1);
            assert_eq!(
                (rest, count),
                (Ok(octets.len() - read), whole.len()),
                "at {cut}"
            );
        }
    }

    #[test]
    fn a_field_that_leaves_the_table_is_gone() {
        let mut decoder = Decoder::default();
        // Room for one small field.
        assert!(text(&mut decoder, b"\x3f\x21\x40\x01a\x01b\xbe").is_ok());
        assert!(text(&mut decoder, b"\x40\x01c\x01d\xbe").is_ok());
        assert_eq!(text(&mut decoder, b"\xbf"), Err(Malformed));
        assert!(
            text(
                &mut decoder,
                b"\x40\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            )
            .is_ok()
        );
        assert_eq!(text(&mut decoder, b"\xbe"), Err(Malformed));
    }

    #[test]
    fn values_are_shared_and_right() {
        let mut decoder = Decoder::default();
        let mut values: Vec<HeaderValue> = Vec::new();
        let expected: Vec<String> = (0..3000).map(|n| format!("value {n}")).collect();
        for value in &expected {
            let mut octets = b"\x00\x01a".to_vec();
            octets.push(u8::try_from(value.len()).expect("short"));
            octets.extend_from_slice(value.as_bytes());
            let keep = |field| match field {
                Field::Regular(_, value) => values.push(value),
                other => panic!("{other:?}"),
            };
            assert_eq!(decoder.decode(&octets, keep), Ok(octets.len()));
        }
        assert_eq!(values, expected);
    }
}
