//! Fields as they are compressed.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// What a field counts beside its name and value (RFC 7541 section 4.1, RFC 9113 section 6.5.2).
const OVERHEAD: usize = 32;

/// A field of a field section. What makes no field is kept as well: it fails its message, but has
/// its place in the table like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    /// A pseudo-header field, whose value has not been looked at.
    Pseudo(Pseudo, Bytes),
    /// A field whose name is in lower case and whose value is one.
    Regular(HeaderName, HeaderValue),
    /// A name with a value that cannot be one. Its length.
    NoValue(HeaderName, usize),
    /// No field name, or a pseudo-header field that nobody has defined. The lengths of both parts.
    NoName(usize, usize),
}

/// The pseudo-header fields there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pseudo {
    /// `:authority`
    Authority,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:protocol` (RFC 8441)
    Protocol,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
}

/// A name to which a value comes.
#[derive(Debug, Clone)]
pub(super) enum Name {
    Pseudo(Pseudo),
    Regular(HeaderName),
    Wrong(usize),
}

// === impl Field ===

impl Field {
    /// What it counts.
    pub(crate) fn size(&self) -> usize {
        let parts = match self {
            Self::Pseudo(name, value) => name.as_str().len() + value.len(),
            Self::Regular(name, value) => name.as_str().len() + value.len(),
            Self::NoValue(name, value) => name.as_str().len() + value,
            Self::NoName(name, value) => name + value,
        };
        OVERHEAD + parts
    }

    pub(super) fn new(name: Name, value: Bytes) -> Self {
        match name {
            Name::Pseudo(name) => Self::Pseudo(name, value),
            Name::Wrong(length) => Self::NoName(length, value.len()),
            Name::Regular(name) => {
                let length = value.len();
                // RFC 9113 section 8.2.1: neither begins nor ends with white space.
                let ends = [value.first(), value.last()];
                let is_padded = ends.iter().any(|end| matches!(end, Some(b' ' | b'\t')));
                match HeaderValue::from_maybe_shared(value) {
                    Ok(value) if !is_padded => Self::Regular(name, value),
                    _ => Self::NoValue(name, length),
                }
            }
        }
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Self::Pseudo(name, _) => Name::Pseudo(*name),
            Self::Regular(name, _) | Self::NoValue(name, _) => Name::Regular(name.clone()),
            Self::NoName(length, _) => Name::Wrong(*length),
        }
    }
}

// === impl Pseudo ===

impl Pseudo {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => ":authority",
            Self::Method => ":method",
            Self::Path => ":path",
            Self::Protocol => ":protocol",
            Self::Scheme => ":scheme",
            Self::Status => ":status",
        }
    }
}

// === impl Name ===

impl Name {
    /// `octets` as they came.
    pub(super) fn new(octets: &[u8]) -> Self {
        if octets.first() != Some(&b':') {
            return match HeaderName::from_lowercase(octets) {
                Ok(name) => Self::Regular(name),
                Err(_) => Self::Wrong(octets.len()),
            };
        }
        match octets {
            b":authority" => Self::Pseudo(Pseudo::Authority),
            b":method" => Self::Pseudo(Pseudo::Method),
            b":path" => Self::Pseudo(Pseudo::Path),
            b":protocol" => Self::Pseudo(Pseudo::Protocol),
            b":scheme" => Self::Pseudo(Pseudo::Scheme),
            b":status" => Self::Pseudo(Pseudo::Status),
            _ => Self::Wrong(octets.len()),
        }
    }
}
