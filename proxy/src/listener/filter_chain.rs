//! Which filter chain serves a connection, by Envoy's rules: the criteria are looked at one after
//! the other, at each the most specific value that matches wins, and there is no way back.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch>

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    config::listener::{FilterChainMatch, SourceType, TransportProtocol},
    net::address::{OriginalDst, RemoteAddr},
};

/// What is known of a connection when its filter chain is chosen.
#[derive(Debug, Clone)]
pub struct ConnectionFacts<'a> {
    /// Where the peer wanted to go.
    pub destination: OriginalDst,
    /// The client.
    pub source: RemoteAddr,
    /// The other end of the socket.
    pub direct_source: RemoteAddr,
    /// SNI, lower case; empty if there was none.
    pub server_name: &'a str,
    /// Whether it is TLS.
    pub transport_protocol: TransportProtocol,
    /// ALPN, or what the HTTP inspector found.
    pub application_protocols: &'a [&'a str],
}

/// Index of the chain among `chains` that serves the connection; none: the default chain.
#[must_use]
pub fn choose<'a>(
    chains: impl Iterator<Item = &'a FilterChainMatch>,
    facts: &ConnectionFacts<'_>,
) -> Option<usize> {
    let mut left: Vec<(usize, &FilterChainMatch)> = chains.enumerate().collect();
    let (destination, source) = (facts.destination.ip(), facts.source.ip());
    narrow(&mut left, |m| {
        one(m.destination_port.as_ref(), &facts.destination.port())
    });
    narrow(&mut left, |m| longest_prefix(&m.prefix_ranges, destination));
    narrow(&mut left, |m| {
        server_name(&m.server_names, facts.server_name)
    });
    narrow(&mut left, |m| {
        one(m.transport_protocol.as_ref(), &facts.transport_protocol)
    });
    narrow(&mut left, |m| {
        application_protocol(m, facts.application_protocols)
    });
    narrow(&mut left, |m| {
        longest_prefix(&m.direct_source_prefix_ranges, facts.direct_source.ip())
    });
    narrow(&mut left, |m| {
        source_type(m.source_type, source, destination)
    });
    narrow(&mut left, |m| {
        longest_prefix(&m.source_prefix_ranges, source)
    });
    narrow(&mut left, |m| match m.source_ports.is_empty() {
        true => Some(0),
        false => m.source_ports.contains(&facts.source.port()).then_some(1),
    });
    left.first().map(|(index, _)| *index)
}

/// Keeps the chains whose criterion matches most specifically. `None` is no match, and 0 a
/// criterion that is not set.
fn narrow(
    left: &mut Vec<(usize, &FilterChainMatch)>,
    specificity: impl Fn(&FilterChainMatch) -> Option<usize>,
) {
    let best = left
        .iter()
        .filter_map(|(_, criteria)| specificity(criteria))
        .max();
    left.retain(|(_, criteria)| best.is_some() && specificity(criteria) == best);
}

fn one<T: PartialEq>(wanted: Option<&T>, actual: &T) -> Option<usize> {
    match wanted {
        None => Some(0),
        Some(wanted) => (wanted == actual).then_some(1),
    }
}

fn longest_prefix(ranges: &[IpNet], address: IpAddr) -> Option<usize> {
    if ranges.is_empty() {
        return Some(0);
    }
    let containing = ranges.iter().filter(|range| range.contains(&address));
    containing
        .map(|range| usize::from(range.prefix_len()) + 1)
        .max()
}

/// An exact name beats every wildcard, and a longer wildcard a shorter one.
fn server_name(names: &[String], actual: &str) -> Option<usize> {
    if names.is_empty() {
        return Some(0);
    }
    let specificity = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => {
            (actual.len() > suffix.len() && actual.ends_with(suffix)).then_some(suffix.len())
        }
        None => (!actual.is_empty() && name == actual).then_some(usize::MAX),
    };
    names.iter().filter_map(specificity).max()
}

/// The client's first protocol that any chain wants wins.
fn application_protocol(criteria: &FilterChainMatch, actual: &[&str]) -> Option<usize> {
    let wanted = &criteria.application_protocols;
    if wanted.is_empty() {
        return Some(0);
    }
    let first = actual
        .iter()
        .position(|protocol| wanted.iter().any(|wanted| wanted == protocol));
    first.map(|position| usize::MAX - position)
}

fn source_type(wanted: SourceType, source: IpAddr, destination: IpAddr) -> Option<usize> {
    let local = source == destination || source.is_loopback();
    match wanted {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => local.then_some(1),
        SourceType::External => (!local).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn facts<'a>(port: u16, sni: &'a str, alpn: &'a [&'a str]) -> ConnectionFacts<'a> {
        ConnectionFacts {
            destination: OriginalDst(SocketAddr::from(([10, 4, 0, 3], port))),
            source: RemoteAddr(SocketAddr::from(([10, 4, 0, 9], 40_000))),
            direct_source: RemoteAddr(SocketAddr::from(([10, 4, 0, 8], 40_000))),
            server_name: sni,
            transport_protocol: match sni {
                "" => TransportProtocol::RawBuffer,
                _ => TransportProtocol::Tls,
            },
            application_protocols: alpn,
        }
    }

    fn names(names: &[&str]) -> FilterChainMatch {
        let server_names = names.iter().map(|&name| name.to_owned()).collect();
        FilterChainMatch {
            server_names,
            ..FilterChainMatch::default()
        }
    }

    #[test]
    fn the_most_specific_server_name_wins() {
        let chains = [
            names(&[]),
            names(&["*.example"]),
            names(&["*.api.example"]),
            names(&["a.example"]),
        ];
        for (sni, chain) in [
            ("a.example", Some(3)),
            ("b.example", Some(1)),
            ("x.api.example", Some(2)),
            ("example", Some(0)),
            ("", Some(0)),
        ] {
            assert_eq!(choose(chains.iter(), &facts(443, sni, &[])), chain, "{sni}");
        }
    }

    #[test]
    fn there_is_no_way_back_to_a_less_specific_port() {
        let chains = [
            FilterChainMatch {
                destination_port: Some(80),
                application_protocols: vec!["h2c".to_owned()],
                ..FilterChainMatch::default()
            },
            FilterChainMatch::default(),
        ];
        assert_eq!(choose(chains.iter(), &facts(80, "", &["h2c"])), Some(0));
        assert_eq!(choose(chains.iter(), &facts(80, "", &["http/1.1"])), None);
        assert_eq!(
            choose(chains.iter(), &facts(81, "", &["http/1.1"])),
            Some(1)
        );
    }

    #[test]
    fn the_clients_first_protocol_decides_between_chains() {
        let alpn = |protocols: &[&str]| FilterChainMatch {
            application_protocols: protocols.iter().map(|&p| p.to_owned()).collect(),
            ..FilterChainMatch::default()
        };
        let chains = [alpn(&["http/1.1"]), alpn(&["h2"]), alpn(&[])];
        assert_eq!(
            choose(chains.iter(), &facts(443, "a", &["h2", "http/1.1"])),
            Some(1)
        );
        assert_eq!(
            choose(chains.iter(), &facts(443, "a", &["http/1.1", "h2"])),
            Some(0)
        );
        assert_eq!(choose(chains.iter(), &facts(443, "a", &["istio"])), Some(2));
    }

    #[test]
    fn a_longer_prefix_beats_a_shorter_one() {
        let range = |range: &str| FilterChainMatch {
            prefix_ranges: vec![range.parse().expect("a CIDR")],
            ..FilterChainMatch::default()
        };
        let chains = [
            range("10.0.0.0/8"),
            range("10.4.0.3/32"),
            range("192.0.2.0/24"),
        ];
        assert_eq!(choose(chains.iter(), &facts(80, "", &[])), Some(1));
        assert_eq!(
            choose([chains[2].clone()].iter(), &facts(80, "", &[])),
            None
        );
    }
}
