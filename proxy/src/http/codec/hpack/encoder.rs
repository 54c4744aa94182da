//! Writes field sections.

use http::{HeaderName, HeaderValue, header};

use super::{
    field::Pseudo,
    integer::write,
    tables::{STATIC, STATIC_FIELDS, Table},
};

/// Size of the table at most, whatever the peer allows.
const TABLE: usize = 4096;
/// Places of each of the indices into the table: more than it can have fields that are worth it.
const PLACES: usize = 128;
const STATIC_PLACES: usize = 256;

const INDEXED: u8 = 0x80;
const WITH_INDEXING: u8 = 0x40;
const SIZE_UPDATE: u8 = 0x20;
const NEVER_INDEXED: u8 = 0x10;
const WITHOUT_INDEXING: u8 = 0x00;

/// By the hash of a name: the first index of the static table that has it.
const STATIC_NAMES: [u8; STATIC_PLACES] = static_names();

/// Writes field sections.
///
/// A field enters the table when it is sent for the second time, so that the table holds what
/// repeats; or when its name is new, so that the name need not be written again.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table<(HeaderName, Box<[u8]>)>,
    /// By hash: the number of a field's entry in the table.
    fields: Box<[u32; PLACES]>,
    names: Box<[u32; PLACES]>,
    /// Hashes of fields that were sent lately.
    seen: Box<[u32; PLACES]>,
    /// The smallest and the last size of the table that the peer must be told of.
    resized: Option<(usize, usize)>,
}

// === impl Encoder ===

impl Default for Encoder {
    fn default() -> Self {
        Self {
            table: Table::new(TABLE),
            fields: Box::new([u32::MAX; PLACES]),
            names: Box::new([u32::MAX; PLACES]),
            seen: Box::new([0; PLACES]),
            resized: None,
        }
    }
}

impl Encoder {
    /// The peer allows a table of this size.
    pub(crate) fn allow(&mut self, size: u32) {
        let size = usize::try_from(size).map_or(TABLE, |size| size.min(TABLE));
        if self.resized.is_some() || size != self.table.most() {
            let smallest = self
                .resized
                .map_or(size, |(smallest, _)| smallest.min(size));
            self.resized = Some((smallest, size));
        }
    }

    /// Begins a section.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some((smallest, last)) = self.resized.take() else {
            return;
        };
        for size in [smallest, last] {
            write(out, SIZE_UPDATE, 5, size);
            self.table.resize(size);
        }
    }

    /// Writes a pseudo-header field. They are few and mostly short, or new each time: none enters
    /// the table.
    pub(crate) fn pseudo(&mut self, out: &mut Vec<u8>, name: Pseudo, value: &str) {
        let (from, to) = match name {
            Pseudo::Authority => return self.authority(out, value),
            Pseudo::Method => (2, 3),
            Pseudo::Path => (4, 5),
            Pseudo::Scheme => (6, 7),
            Pseudo::Status => (8, 14),
            Pseudo::Protocol => {
                out.push(WITHOUT_INDEXING);
                text(out, name.as_str().as_bytes());
                return text(out, value.as_bytes());
            }
        };
        for index in from..=to {
            if STATIC_FIELDS[index - 1].1 == value {
                return write(out, INDEXED, 7, index);
            }
        }
        write(out, WITHOUT_INDEXING, 4, from);
        text(out, value.as_bytes());
    }

    fn authority(&mut self, out: &mut Vec<u8>, value: &str) {
        // It stands for a field of this name, which never is sent.
        self.known(out, 1, &header::HOST, value.as_bytes());
    }

    /// Writes a field.
    pub(crate) fn field(&mut self, out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
        let of_name = static_name(name.as_str());
        if is_secret(name, value) {
            let index = of_name.unwrap_or_default();
            write(out, NEVER_INDEXED, 4, index);
            if index == 0 {
                text(out, name.as_str().as_bytes());
            }
            return text(out, value.as_bytes());
        }
        if let Some(index) = of_name {
            let is_whole = STATIC_FIELDS[index - 1].1.as_bytes() == value.as_bytes();
            if is_whole && !value.is_empty() {
                return write(out, INDEXED, 7, index);
            }
            return self.known(out, index, name, value.as_bytes());
        }
        let place = place(hash(name.as_str().as_bytes()));
        let entry = self.table.place(self.names[place]);
        let entry = entry.filter(|entry| self.is_named(*entry, name));
        match entry {
            Some(entry) => self.known(out, STATIC + 1 + entry, name, value.as_bytes()),
            None => {
                let size = 32 + name.as_str().len() + value.len();
                if !self.enters(size) {
                    out.push(WITHOUT_INDEXING);
                } else {
                    self.names[place] = self.table.next();
                    let of_field = hash_of(name, value.as_bytes());
                    self.insert(of_field, name, value.as_bytes());
                    out.push(WITH_INDEXING);
                }
                text(out, name.as_str().as_bytes());
                text(out, value.as_bytes());
            }
        }
    }

    /// Writes a field whose name is at `index`.
    fn known(&mut self, out: &mut Vec<u8>, index: usize, name: &HeaderName, value: &[u8]) {
        let of_field = hash_of(name, value);
        let at = place(of_field);
        if let Some(entry) = self.table.place(self.fields[at])
            && let Some((known, of)) = self.table.get(entry)
            && **of == *value
            && known == name
        {
            return write(out, INDEXED, 7, STATIC + 1 + entry);
        }
        let size = 32 + name.as_str().len() + value.len();
        let was_seen = std::mem::replace(&mut self.seen[at], of_field as u32) == of_field as u32;
        if was_seen && self.enters(size) {
            write(out, WITH_INDEXING, 6, index);
            self.insert(of_field, name, value);
        } else {
            write(out, WITHOUT_INDEXING, 4, index);
        }
        text(out, value);
    }

    fn insert(&mut self, of_field: u64, name: &HeaderName, value: &[u8]) {
        let size = 32 + name.as_str().len() + value.len();
        self.fields[place(of_field)] = self.table.next();
        // A copy: what stays for long must not hold the memory of what it came with.
        self.table.insert((name.clone(), Box::from(value)), size);
    }

    /// Whether a field of this size is worth a place in the table: it leaves room for others.
    fn enters(&self, size: usize) -> bool {
        self.table.fits(size * 4)
    }

    fn is_named(&self, entry: usize, name: &HeaderName) -> bool {
        self.table
            .get(entry)
            .is_some_and(|(known, _)| known == name)
    }
}

/// A literal.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    write(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Whether nobody should be able to find out by guessing and watching sizes (RFC 7541 section 7.1).
fn is_secret(name: &HeaderName, value: &HeaderValue) -> bool {
    value.is_sensitive()
        || *name == header::AUTHORIZATION
        || *name == header::PROXY_AUTHORIZATION
        || *name == header::COOKIE
        || *name == header::SET_COOKIE
}

fn static_name(name: &str) -> Option<usize> {
    let mut at = (hash(name.as_bytes()) >> 56) as usize;
    loop {
        let index = usize::from(STATIC_NAMES[at]);
        if index == 0 {
            return None;
        }
        if STATIC_FIELDS[index - 1].0 == name {
            return Some(index);
        }
        at = (at + 1) % STATIC_PLACES;
    }
}

const fn static_names() -> [u8; STATIC_PLACES] {
    let mut places = [0; STATIC_PLACES];
    let mut index = 1;
    while index <= STATIC {
        let name = STATIC_FIELDS[index - 1].0.as_bytes();
        let mut at = (hash(name) >> 56) as usize;
        // A name that is there several times is found at its last place, but for pseudo-header
        // fields, which are not looked up.
        while places[at] != 0 {
            at = (at + 1) % STATIC_PLACES;
        }
        places[at] = index as u8;
        index += 1;
    }
    places
}

fn place(hash: u64) -> usize {
    (hash >> 57) as usize
}

fn hash_of(name: &HeaderName, value: &[u8]) -> u64 {
    let name = hash(name.as_str().as_bytes());
    mix(name ^ hash(value).rotate_left(29))
}

/// By the ends and the length: what collides is found out by comparing, and costs a few octets.
const fn hash(text: &[u8]) -> u64 {
    let length = text.len();
    let (mut head, mut tail, mut at) = (0, 0, 0);
    while at < 8 && at < length {
        head = head << 8 | text[at] as u64;
        tail = tail << 8 | text[length - 1 - at] as u64;
        at += 1;
    }
    mix(mix(head ^ (length as u64) << 56) ^ tail)
}

const fn mix(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (value ^ value >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::{
        super::{Decoder, Field},
        *,
    };

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            )
        };
        fields.iter().map(pair).collect()
    }

    fn encoded(encoder: &mut Encoder, fields: &HeaderMap) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in fields {
            encoder.field(&mut out, name, value);
        }
        out
    }

    fn decoded(decoder: &mut Decoder, octets: &[u8]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let read = decoder.decode(octets, |field| match field {
            Field::Regular(name, value) => drop(fields.append(name, value)),
            other => panic!("{other:?}"),
        });
        decoder.end();
        assert_eq!(read, Ok(octets.len()));
        fields
    }

    #[test]
    fn what_repeats_costs_an_octet() {
        let mut encoder = Encoder::default();
        let fields = map(&[
            ("content-type", "application/grpc"),
            ("x-custom", "always"),
            ("accept-encoding", "gzip, deflate"),
        ]);
        let lengths = [(); 4].map(|()| encoded(&mut encoder, &fields).len());
        assert_eq!(lengths[2..], [3, 3], "{lengths:?}");
    }

    #[test]
    fn what_does_not_repeat_stays_out() {
        let mut encoder = Encoder::default();
        for n in 0..100 {
            let fields = map(&[
                ("x-request-id", &format!("id-{n}")),
                ("etag", &n.to_string()),
            ]);
            encoded(&mut encoder, &fields);
        }
        assert_eq!(encoder.table.next(), 1, "the name, once");
    }

    #[test]
    fn secrets_never_enter_the_table() {
        let mut encoder = Encoder::default();
        let mut fields = map(&[("authorization", "a"), ("cookie", "b"), ("set-cookie", "c")]);
        let mut value = HeaderValue::from_static("d");
        value.set_sensitive(true);
        fields.insert("x-secret", value);
        for _ in 0..3 {
            let octets = encoded(&mut encoder, &fields);
            assert!(
                decoded(&mut Decoder::default(), &octets)
                    .values()
                    .all(HeaderValue::is_sensitive)
            );
        }
        assert_eq!(encoder.table.next(), 0);
    }

    #[test]
    fn every_static_name_is_found() {
        for (index, (name, _)) in STATIC_FIELDS.iter().enumerate().skip(14) {
            assert_eq!(static_name(name), Some(index + 1));
        }
        assert_eq!(static_name("x-custom"), None);
    }

    #[test]
    fn pseudo_fields_are_written() {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        let fields = [
            (Pseudo::Method, "GET"),
            (Pseudo::Method, "PATCH"),
            (Pseudo::Scheme, "https"),
            (Pseudo::Path, "/a"),
            (Pseudo::Authority, "h:80"),
            (Pseudo::Authority, "h:80"),
            (Pseudo::Authority, "h:80"),
            (Pseudo::Status, "418"),
            (Pseudo::Protocol, "websocket"),
        ];
        for (name, value) in fields {
            encoder.pseudo(&mut out, name, value);
        }
        let mut read = Vec::new();
        let length = Decoder::default().decode(&out, |field| read.push(field));
        assert_eq!(length, Ok(out.len()));
        let expected =
            fields.map(|(name, value)| Field::Pseudo(name, Bytes::from_static(value.as_bytes())));
        assert_eq!(read, expected);
    }

    proptest::proptest! {
        /// Sections of few names and values, so that they repeat, through tables of any size.
        #[test]
        fn what_is_written_is_read(
            sections in proptest::collection::vec(
                (
                    proptest::option::of(0_u32..5000),
                    proptest::collection::vec((0_usize..12, 0_usize..6), 0..12),
                ),
                0..40,
            )
        ) {
            const NAMES: [&str; 12] = ["accept", "x-a", "x-b", "x-c", "cookie", "date", "server",
                "content-length", "x-long-name-that-takes-room", "te", "via", "grpc-status"];
            let values = ["", "a", "gzip, deflate", "trailers", &"v".repeat(300), &"w".repeat(2000)];
            let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
            for (size, fields) in sections {
                if let Some(size) = size {
                    encoder.allow(size);
                }
                let fields: Vec<_> = fields.iter().map(|(n, v)| (NAMES[*n], values[*v])).collect();
                let fields = map(&fields);
                let octets = encoded(&mut encoder, &fields);
                proptest::prop_assert_eq!(decoded(&mut decoder, &octets), fields);
            }
        }
    }
}
