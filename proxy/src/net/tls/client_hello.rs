//! What a TLS ClientHello says: SNI and ALPN (RFC 8446 section
//! 4.1.2, RFC 6066 section 3, RFC 7301 section 3.1). Nothing is decrypted.

/// An answer about a prefix of a byte stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection<T> {
    /// More bytes could decide either way.
    NeedMore,
    /// It is not this protocol.
    No,
    /// It is.
    Yes(T),
}

/// What a ClientHello says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// SNI, lower case.
    pub server_name: Option<Box<str>>,
    /// ALPN, in the client's order.
    pub application_protocols: Vec<Box<str>>,
}

/// A ClientHello larger than this is taken for something else. Envoy's limit, 16 KiB.
const MAX_CLIENT_HELLO: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;

/// Looks at the first bytes of a connection.
#[must_use]
pub fn inspect(bytes: &[u8]) -> Inspection<ClientHello> {
    let mut message = Vec::new();
    let mut records = bytes;
    // A ClientHello may be spread over several records.
    loop {
        match record(records) {
            Inspection::NeedMore => return not_too_large(bytes),
            Inspection::No => return Inspection::No,
            Inspection::Yes((fragment, rest)) => {
                message.extend_from_slice(fragment);
                records = rest;
            }
        }
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Inspection::No;
        }
        let Some(body) = message.get(4..) else {
            continue;
        };
        let length = usize::from(message[1]) << 16 | be16(&message[2..4]);
        if length > MAX_CLIENT_HELLO {
            return Inspection::No;
        }
        if let Some(body) = body.get(..length) {
            return parse(body).map_or(Inspection::No, Inspection::Yes);
        }
    }
}

fn not_too_large(bytes: &[u8]) -> Inspection<ClientHello> {
    if bytes.len() > MAX_CLIENT_HELLO {
        Inspection::No
    } else {
        Inspection::NeedMore
    }
}

/// One handshake record and what follows it.
fn record(bytes: &[u8]) -> Inspection<(&[u8], &[u8])> {
    // Of the version the first half alone counts: what follows must be ignored (RFC 8446 section 5.1).
    let plausible = [
        bytes.first().is_none_or(|kind| *kind == HANDSHAKE),
        bytes.get(1).is_none_or(|major| *major == 3),
    ];
    if plausible.contains(&false) {
        return Inspection::No;
    }
    let Some(body) = bytes.get(5..) else {
        return Inspection::NeedMore;
    };
    // Zero-length handshake records are forbidden, and would never end.
    match be16(&bytes[3..5]) {
        0 => Inspection::No,
        length if length > MAX_CLIENT_HELLO + 256 => Inspection::No,
        length if body.len() < length => Inspection::NeedMore,
        length => Inspection::Yes(body.split_at(length)),
    }
}

fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?; // version, random
    reader.vector8()?; // session id
    reader.vector16()?; // cipher suites
    reader.vector8()?; // compression methods
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Some(hello); // no extensions
    }
    let mut extensions = Reader(reader.vector16()?);
    while !extensions.0.is_empty() {
        let (kind, data) = (extensions.u16()?, extensions.vector16()?);
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = server_name(data),
            EXTENSION_ALPN => hello.application_protocols = application_protocols(data)?,
            _ => {}
        }
    }
    Some(hello)
}

/// Bytes of a host name at most: what is longer is none (RFC 1035 section 2.3.4), and is not kept.
const LONGEST_NAME: usize = 255;

fn server_name(data: &[u8]) -> Option<Box<str>> {
    let mut names = Reader(Reader(data).vector16()?);
    while !names.0.is_empty() {
        let (kind, name) = (names.take(1)?[0], names.vector16()?);
        if kind == 0 {
            let name = std::str::from_utf8(name)
                .ok()
                .filter(|name| (1..=LONGEST_NAME).contains(&name.len()))?;
            return Some(name.to_ascii_lowercase().into());
        }
    }
    None
}

fn application_protocols(data: &[u8]) -> Option<Vec<Box<str>>> {
    let (mut names, mut protocols) = (Reader(Reader(data).vector16()?), Vec::new());
    while !names.0.is_empty() {
        protocols.push(String::from_utf8_lossy(names.vector8()?).into());
    }
    Some(protocols)
}

fn be16(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// Takes from the front; `None` when there is not enough.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector16(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).expect("short");
        [&length.to_be_bytes()[..], bytes].concat()
    }

    fn client_hello(sni: &str, alpn: &[&str], record_size: usize) -> Vec<u8> {
        let names = vector16(&[&[0][..], &vector16(sni.as_bytes())].concat());
        let protocols: Vec<u8> = alpn
            .iter()
            .flat_map(|p| [&[p.len() as u8][..], p.as_bytes()].concat())
            .collect();
        let mut extensions = [&[0, 0][..], &vector16(&names)].concat();
        extensions.extend([&[0, 16][..], &vector16(&vector16(&protocols))].concat());
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend(vector16(&extensions));
        let mut message = vec![CLIENT_HELLO, 0];
        message.extend(vector16(&body));
        let records = message.chunks(record_size);
        records
            .flat_map(|part| [&[HANDSHAKE, 3, 1][..], &vector16(part)].concat())
            .collect()
    }

    #[test]
    fn sni_and_alpn_are_read_whatever_the_record_size() {
        for record_size in [1, 7, 4096] {
            let bytes = client_hello("API.Example", &["h2", "http/1.1"], record_size);
            let Inspection::Yes(hello) = inspect(&bytes) else {
                panic!("not read")
            };
            assert_eq!(hello.server_name.as_deref(), Some("api.example"));
            assert_eq!(
                hello.application_protocols,
                ["h2".into(), "http/1.1".into()]
            );
            for cut in 0..bytes.len() {
                assert_eq!(inspect(&bytes[..cut]), Inspection::NeedMore, "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_version_of_the_record_is_ignored() {
        let mut bytes = client_hello("a", &[], 4096);
        for minor in [0, 1, 4, 0x99] {
            bytes[2] = minor;
            assert!(matches!(inspect(&bytes), Inspection::Yes(_)), "{minor}");
        }
        bytes[1] = 2;
        assert_eq!(inspect(&bytes), Inspection::No);
    }

    #[test]
    fn other_protocols_are_recognised_by_their_first_byte() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"\x16\x02",
            b"\x17\x03\x03",
            b"\x16\x03\x01\0\0",
        ] {
            assert_eq!(inspect(bytes), Inspection::No, "{}", bytes.escape_ascii());
        }
        assert_eq!(inspect(b"\x16\x03\x01\x02\0\x02"), Inspection::NeedMore);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8..=255, 0..300), hello: bool) {
            let head = if hello { &b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"[..] } else { b"" };
            let _ = inspect(&[head, &bytes].concat());
        }
    }
}
