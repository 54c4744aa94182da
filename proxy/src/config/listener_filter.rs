//! Listener filters.

use std::{ops::Range, sync::Arc};

use super::{proxy_protocol::PassThroughTlvs, token_bucket::LocalRateLimit};

/// `envoy.config.listener.v3.ListenerFilter`
#[derive(Debug, Clone)]
pub struct ListenerFilter {
    /// Which one.
    pub kind: ListenerFilterKind,
    /// Connections for which it is left out.
    pub disabled: Option<ListenerMatch>,
}

/// A listener filter.
#[derive(Debug, Clone)]
pub enum ListenerFilterKind {
    /// `envoy.filters.listener.original_dst`
    OriginalDst,
    /// `envoy.filters.listener.tls_inspector`
    TlsInspector,
    /// `envoy.filters.listener.http_inspector`
    HttpInspector,
    /// `envoy.filters.listener.proxy_protocol`
    ProxyProtocol(Arc<ProxyProtocol>),
    /// `envoy.filters.listener.local_ratelimit`
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.filters.listener.original_src`
    OriginalSrc {
        /// `SO_MARK` of connections to endpoints; 0: none.
        mark: u32,
    },
}

/// `envoy.config.listener.v3.ListenerFilterChainMatchPredicate`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerMatch {
    /// Every connection.
    Any,
    /// Those that the other does not match.
    Not(Box<ListenerMatch>),
    /// Those that all match.
    And(Vec<ListenerMatch>),
    /// Those that one matches.
    Or(Vec<ListenerMatch>),
    /// Those to one of these ports, as far as it is known.
    DestinationPort(Range<i32>),
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`
#[derive(Debug)]
pub struct ProxyProtocol {
    /// TLVs that endpoints may be sent.
    pub pass_through: PassThroughTlvs,
    /// What is kept of TLVs.
    pub rules: Vec<TlvRule>,
    /// Take connections without a header as well.
    pub allow_without: bool,
    /// Take no header of version 1.
    pub disallow_v1: bool,
    /// Take no header of version 2.
    pub disallow_v2: bool,
    /// Part of stat names: `proxy_proto.<stat_prefix>.`; may be empty.
    pub stat_prefix: String,
    /// Where TLVs are kept.
    pub location: TlvLocation,
}

/// `ProxyProtocol.Rule`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvRule {
    /// Type of the TLV.
    pub kind: u8,
    /// Namespace in the metadata.
    pub namespace: String,
    /// Key there, or field of the object in the filter state.
    pub key: String,
    /// How the value becomes text.
    pub encoding: TlvEncoding,
}

/// `ProxyProtocol.KeyValuePair.ValueStringEncoding`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlvEncoding {
    /// As it is, with `!` for each byte that is not of UTF-8.
    Sanitized,
    /// Base64.
    Base64,
}

/// `ProxyProtocol.TlvLocation`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlvLocation {
    /// The connection's dynamic metadata.
    DynamicMetadata,
    /// One object of the connection's filter state.
    FilterState,
}

// === impl ListenerFilter ===

impl ListenerFilter {
    /// Whether it only looks at what the client says.
    #[must_use]
    pub fn is_inspector(&self) -> bool {
        matches!(
            self.kind,
            ListenerFilterKind::TlsInspector | ListenerFilterKind::HttpInspector
        )
    }
}

// === impl ListenerMatch ===

impl ListenerMatch {
    /// Whether it holds of a connection to this port.
    #[must_use]
    pub fn holds(&self, destination_port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Not(other) => !other.holds(destination_port),
            Self::And(all) => all.iter().all(|one| one.holds(destination_port)),
            Self::Or(any) => any.iter().any(|one| one.holds(destination_port)),
            Self::DestinationPort(ports) => ports.contains(&i32::from(destination_port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_of_ports_as_they_say() {
        use ListenerMatch::{And, Any, DestinationPort, Not, Or};

        let low = || DestinationPort(0..1024);
        let http = || DestinationPort(80..81);
        let cases = [
            (Any, [true, true, true]),
            (http(), [true, false, false]),
            (Not(Box::new(low())), [false, false, true]),
            (Or(vec![http(), Not(Box::new(low()))]), [true, false, true]),
            (
                And(vec![low(), Not(Box::new(http()))]),
                [false, true, false],
            ),
        ];
        for (condition, expected) in cases {
            assert_eq!([80, 443, 8080].map(|port| condition.holds(port)), expected);
        }
    }
}
