//! What chooses the endpoint where a cluster goes by a hash.

use regex::Regex;

/// `RouteAction.HashPolicy`, `envoy.type.v3.HashPolicy`
#[derive(Debug)]
pub struct HashPolicy {
    /// What is hashed.
    pub of: Hashed,
    /// With a hash, of this one or of those before it, no further ones are asked (`terminal`).
    pub is_terminal: bool,
}

/// What is hashed.
#[derive(Debug)]
pub enum Hashed {
    /// All lines of a header.
    Header {
        /// Lower case, or a pseudo header.
        name: String,
        /// What becomes of each line first: the pattern, and what takes the place of its matches.
        rewrite: Option<(Regex, String)>,
    },
    /// A cookie.
    Cookie {
        /// Its name.
        name: String,
        /// What the client is given that has none.
        generated: Option<GeneratedCookie>,
    },
    /// The address that the client has.
    SourceIp,
    /// The first query parameter of this name.
    QueryParameter(String),
    /// An object of the filter state that can be hashed.
    FilterState(String),
}

/// A cookie that the proxy makes. Its value is the hash of both ends of the connection.
#[derive(Debug)]
pub struct GeneratedCookie {
    /// `Max-Age`, in seconds; 0: until the client ends.
    pub ttl: u64,
    /// `Path`; may be empty.
    pub path: String,
    /// Others, by name; a value may be empty.
    pub attributes: Vec<(String, String)>,
}

// === impl HashPolicy ===

impl HashPolicy {
    /// The address that the client has.
    pub const SOURCE_IP: Self = Self {
        of: Hashed::SourceIp,
        is_terminal: false,
    };
}
