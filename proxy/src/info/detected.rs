//! What the first bytes of a connection have shown.

/// What a client speaks, as far as listener filters have seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Detected {
    /// Nothing was seen, or nobody has looked.
    #[default]
    Nothing,
    /// Neither TLS nor HTTP.
    Tcp,
    Tls,
    Http10,
    Http11,
    /// HTTP/2 without TLS.
    H2c,
}

// === impl Detected ===

impl Detected {
    /// For people; empty for nothing.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http10 | Self::Http11 | Self::H2c => self.http().unwrap_or_default(),
        }
    }

    /// As `FilterChainMatch.application_protocols` names it, if it is HTTP in the clear.
    pub(crate) fn http(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Tcp | Self::Tls => None,
            Self::Http10 => Some("http/1.0"),
            Self::Http11 => Some("http/1.1"),
            Self::H2c => Some("h2c"),
        }
    }
}
