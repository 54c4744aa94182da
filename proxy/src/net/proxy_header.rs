//! PROXY protocol headers, as they are written to endpoints.
//!
//! <https://www.haproxy.org/download/2.1/doc/proxy-protocol.txt>

use std::net::{IpAddr, SocketAddr};

use crate::config::proxy_protocol::{ProxyProtocol, ProxyProtocolVersion};

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and that the proxy speaks for somebody (`PROXY`).
const V2_PROXY: u8 = 0x21;
/// Version 2, and that the proxy speaks for itself (`LOCAL`).
const V2_LOCAL: u8 = 0x20;
/// Bytes behind the length.
const MAX_REST: usize = u16::MAX as usize;
/// TCP over IPv4, and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The client, and whom it has called.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// Who is spoken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) ends: Ends,
    /// TLVs that came with its own header and may be passed on, as they came.
    pub(crate) tlvs: Vec<u8>,
}

/// The header for a client, or for the proxy itself.
pub(crate) fn write(config: &ProxyProtocol, client: Option<&Client>) -> Vec<u8> {
    let ends = client.map(|client| of_one_family(client.ends));
    match config.version {
        ProxyProtocolVersion::V1 => line(ends).into_bytes(),
        ProxyProtocolVersion::V2 => {
            let tlvs = client.map_or(&[][..], |client| &client.tlvs);
            binary(config, ends, tlvs)
        }
    }
}

/// Types and values, up to one that is cut.
fn each_tlv(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<3>()?;
        let length = u16::from_be_bytes([head[1], head[2]]).into();
        let value = rest.get(..length)?;
        bytes = rest.get(length..)?;
        Some((head[0], value))
    })
}

/// An IPv4 address beside an IPv6 one is written as one of that, mapped.
fn of_one_family((source, destination): Ends) -> Ends {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(source), mapped(destination))
}

fn line(ends: Option<Ends>) -> String {
    let Some((source, destination)) = ends else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n")
}

fn binary(config: &ProxyProtocol, ends: Option<Ends>, passed: &[u8]) -> Vec<u8> {
    let mut out = V2_SIGNATURE.to_vec();
    let Some((source, destination)) = ends else {
        out.extend([V2_LOCAL, 0, 0, 0]);
        return out;
    };
    let mut rest = Vec::new();
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => rest.extend(ip.octets()),
            IpAddr::V6(ip) => rest.extend(ip.octets()),
        }
    }
    rest.extend(source.port().to_be_bytes());
    rest.extend(destination.port().to_be_bytes());
    let added = config.added_tlvs.iter();
    let added = added.map(|(kind, value)| (*kind, value.as_slice()));
    let is_added = |kind| config.added_tlvs.iter().any(|(known, _)| *known == kind);
    // What is added takes the place of what came.
    let passed = each_tlv(passed);
    let passed = passed.filter(|(kind, _)| config.pass_through.has(*kind) && !is_added(*kind));
    for (kind, value) in added.chain(passed) {
        // What does not fit is left out: of what is configured, that is refused.
        if let Ok(length) = u16::try_from(value.len())
            && rest.len() + value.len() + 3 <= MAX_REST
        {
            rest.push(kind);
            rest.extend(length.to_be_bytes());
            rest.extend(value);
        }
    }
    let length = u16::try_from(rest.len()).unwrap_or_default();
    out.extend([V2_PROXY, if source.is_ipv4() { TCP4 } else { TCP6 }]);
    out.extend(length.to_be_bytes());
    out.extend(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::proxy_protocol::PassThroughTlvs;

    fn config(version: ProxyProtocolVersion) -> ProxyProtocol {
        ProxyProtocol {
            version,
            added_tlvs: vec![(0xf0, b"mesh".to_vec())],
            pass_through: PassThroughTlvs::Types(vec![0xe0, 0xf0]),
        }
    }

    fn ends(source: &str, destination: &str) -> Option<Client> {
        let parse = |text: &str| text.parse().expect("an address");
        Some(Client {
            ends: (parse(source), parse(destination)),
            tlvs: Vec::new(),
        })
    }

    #[test]
    fn what_came_is_passed_on_where_it_may_be_and_nothing_takes_its_place() {
        let config = config(ProxyProtocolVersion::V2);
        let mut client = ends("10.0.0.1:1", "10.0.0.2:2").expect("one");
        for (kind, value) in [(0xe0, "passed"), (0xf0, "replaced"), (0xe1, "dropped")] {
            let length = u8::try_from(value.len()).expect("short");
            client.tlvs.extend([kind, 0, length]);
            client.tlvs.extend(value.as_bytes());
        }
        // One that is cut ends them.
        client.tlvs.extend([0xe0, 1]);
        let header = write(&config, Some(&client));
        let expected = [&[0xf0, 0, 4][..], b"mesh", &[0xe0, 0, 6], b"passed"];
        assert_eq!(header[28..], expected.concat());
    }

    #[test]
    fn a_line_says_who_is_spoken_for() {
        let config = config(ProxyProtocolVersion::V1);
        for (ends, line) in [
            (
                ends("10.0.0.1:1", "10.0.0.2:2"),
                "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
            ),
            (ends("[::1]:1", "[::2]:2"), "PROXY TCP6 ::1 ::2 1 2\r\n"),
            (
                ends("10.0.0.1:1", "[::2]:2"),
                "PROXY TCP6 ::ffff:10.0.0.1 ::2 1 2\r\n",
            ),
            (None, "PROXY UNKNOWN\r\n"),
        ] {
            assert_eq!(write(&config, ends.as_ref()), line.as_bytes());
        }
    }

    #[test]
    fn version_2_has_addresses_ports_and_what_is_added() {
        let config = config(ProxyProtocolVersion::V2);
        let header = write(&config, ends("10.0.0.1:258", "10.0.0.2:2").as_ref());
        let expected = [
            V2_SIGNATURE,
            &[0x21, 0x11, 0, 19, 10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 0, 2],
            &[0xf0, 0, 4],
            b"mesh",
        ];
        assert_eq!(header, expected.concat());
        let local = write(&config, None);
        assert_eq!(local, [V2_SIGNATURE, &[0x20, 0, 0, 0]].concat());
        let header = write(&config, ends("[::1]:1", "[::2]:2").as_ref());
        assert_eq!(header[12..16], [0x21, 0x21, 0, 43]);
    }
}
