//! PROXY protocol headers, versions 1 and 2, as a plain function over a prefix of the byte stream.
//! What is a header and what is not is Envoy's decision, case by case.
//!
//! <https://www.haproxy.org/download/2.1/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_HEADER: usize = 16;
/// The longest line of version 1, by the specification.
const V1_LINE: usize = 107;

/// The versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What stands at the beginning of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// More bytes could decide either way.
    NeedMore,
    /// No header.
    Nothing,
    /// What begins as a header of this version and is none.
    Malformed(Version),
    /// A header.
    Header(Header<'a>),
}

/// A header.
#[derive(Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its version.
    pub version: Version,
    /// Bytes of it, with its TLVs.
    pub length: usize,
    /// Source and destination; none where the proxy speaks for itself.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// TLVs as they came; see [`tlvs`].
    pub tlvs: &'a [u8],
}

/// Whether `bytes` may still become the signature of this version.
#[must_use]
pub fn may_begin(version: Version, bytes: &[u8]) -> bool {
    let signature = match version {
        Version::V1 => V1_SIGNATURE,
        Version::V2 => V2_SIGNATURE,
    };
    let common = signature.len().min(bytes.len());
    signature[..common] == bytes[..common]
}

/// Reads the header at the beginning of `bytes`.
#[must_use]
pub fn read(bytes: &[u8]) -> Found<'_> {
    if may_begin(Version::V2, bytes) && bytes.len() >= V2_SIGNATURE.len() {
        return read_v2(bytes);
    }
    if bytes.len() >= V2_HEADER && !may_begin(Version::V1, bytes) {
        return Found::Nothing;
    }
    read_v1(bytes)
}

fn read_v1(bytes: &[u8]) -> Found<'_> {
    let window = &bytes[..bytes.len().min(V1_LINE + 1)];
    let end = window.windows(2).position(|pair| pair == b"\r\n");
    // At the very beginning, it is the signature of version 2 so far.
    let Some(end) = end.filter(|end| *end > 0) else {
        return match bytes.len() > V1_LINE {
            true => Found::Nothing,
            false => Found::NeedMore,
        };
    };
    let line = std::str::from_utf8(&bytes[..end]).ok();
    match line.and_then(addresses_of_line) {
        Some(addresses) => Found::Header(Header {
            version: Version::V1,
            length: end + 2,
            addresses,
            tlvs: &[],
        }),
        None => Found::Malformed(Version::V1),
    }
}

/// None if the line is wrong.
fn addresses_of_line(line: &str) -> Option<Option<(SocketAddr, SocketAddr)>> {
    // Envoy takes blanks at the end, and a sign before a port.
    let parts: Vec<&str> = line.trim_end_matches(' ').split(' ').collect();
    match parts.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        [
            "PROXY",
            family,
            source,
            destination,
            source_port,
            destination_port,
        ] => {
            let address = |ip: &str, port: &str| {
                let ip: IpAddr = match *family {
                    "TCP4" => ip.parse::<Ipv4Addr>().ok()?.into(),
                    "TCP6" => ip.parse::<Ipv6Addr>().ok()?.into(),
                    _ => return None,
                };
                Some(SocketAddr::new(ip, port.parse().ok()?))
            };
            let source = address(source, source_port)?;
            Some(Some((source, address(destination, destination_port)?)))
        }
        _ => None,
    }
}

fn read_v2(bytes: &[u8]) -> Found<'_> {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_HEADER) else {
        return Found::NeedMore;
    };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0xf);
    let (family, transport) = (fixed[13] >> 4, fixed[13] & 0xf);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    // Of a local command there is no address; of another, TCP or UDP over IP.
    let addresses_length = match (version, command, family, transport) {
        (2, 0, ..) => 0,
        (2, 1, 1, 1 | 2) => 12,
        (2, 1, 2, 1 | 2) => 36,
        _ => return Found::Malformed(Version::V2),
    };
    if length < addresses_length {
        return Found::Malformed(Version::V2);
    }
    let Some(rest) = rest.get(..length) else {
        return Found::NeedMore;
    };
    let (addresses, tlvs) = match command {
        // What it says all the same is not looked at.
        0 => (&rest[..0], &rest[..0]),
        _ => rest.split_at(addresses_length),
    };
    if self::tlvs(tlvs).any(|tlv| tlv.is_none()) {
        return Found::Malformed(Version::V2);
    }
    Found::Header(Header {
        version: Version::V2,
        length: V2_HEADER + length,
        addresses: binary_addresses(addresses),
        tlvs,
    })
}

fn binary_addresses(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    fn pair<const N: usize>(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)>
    where
        IpAddr: From<[u8; N]>,
    {
        let (source, rest) = bytes.split_first_chunk::<N>()?;
        let (destination, ports) = rest.split_first_chunk::<N>()?;
        let [a, b, c, d] = *ports.first_chunk::<4>()?;
        let address = |ip: [u8; N], port| SocketAddr::new(IpAddr::from(ip), port);
        let source = address(*source, u16::from_be_bytes([a, b]));
        Some((source, address(*destination, u16::from_be_bytes([c, d]))))
    }
    match bytes.len() {
        12 => pair::<4>(bytes),
        36 => pair::<16>(bytes),
        _ => None,
    }
}

/// Types and values of a header's TLVs; the last is none where the bytes do not come out even.
pub fn tlvs(bytes: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    let mut left = bytes;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let mut next = || {
            let (&[kind, high, low], rest) = left.split_first_chunk::<3>()?;
            let length = usize::from(u16::from_be_bytes([high, low]));
            let (value, rest) = rest.split_at_checked(length)?;
            left = rest;
            Some((kind, value))
        };
        let tlv = next();
        if tlv.is_none() {
            left = &[];
        }
        Some(tlv)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02\x05\0\x01arest";

    #[test]
    fn no_prefix_of_a_header_decides_before_it_is_whole() {
        let v1 = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nrest";
        for (bytes, length) in [(&v1[..], v1.len() - 4), (V2, V2.len() - 4)] {
            for end in 0..length {
                assert_eq!(read(&bytes[..end]), Found::NeedMore, "{end}");
            }
            let Found::Header(header) = read(bytes) else {
                panic!("{bytes:?}");
            };
            assert_eq!(header.length, length);
            let addresses = header
                .addresses
                .map(|(source, to)| format!("{source} {to}"));
            assert_eq!(addresses.as_deref(), Some("1.2.3.4:1 5.6.7.8:2"));
        }
    }

    #[test]
    fn tlvs_are_read_up_to_the_first_that_is_cut() {
        let read = |bytes| tlvs(bytes).collect::<Vec<_>>();
        assert_eq!(read(b""), []);
        assert_eq!(
            read(b"\x01\0\0\x02\0\x01a"),
            [Some((1, &b""[..])), Some((2, b"a"))]
        );
        assert_eq!(read(b"\x01\0\x02a"), [None]);
        assert_eq!(read(b"\x01\0\0\x02"), [Some((1, &b""[..])), None]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            start in proptest::sample::select(vec![&b""[..], b"PROXY ", V2_SIGNATURE, &V2[..16]]),
            rest in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let bytes = [start, &rest].concat();
            if let Found::Header(header) = read(&bytes) {
                assert!(header.length <= bytes.len());
            }
        }
    }
}
