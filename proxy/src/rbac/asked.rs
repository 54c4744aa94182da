//! What rules would say of a call that nobody makes.

use std::net::SocketAddr;

use super::{Attributes, ConnectionAttributes, Verdict};
use crate::{
    config::rbac::Rules,
    http::codec::h1::request::{Parsed, Request},
    metadata::{FilterState, Metadata},
    net::tls::TlsInfo,
};

/// Most headers of a request that is asked about.
const MAX_HEADERS: usize = 100;

/// A call that is asked about and not made.
pub struct Asked {
    source: SocketAddr,
    destination: SocketAddr,
    server_name: String,
    /// None: it comes in plaintext.
    tls: Option<TlsInfo>,
    /// None: the connection carries no requests.
    request: Option<Request>,
}

// === impl Asked ===

impl Asked {
    /// A connection of somebody whose certificate has that SPIFFE identity; without one it comes in
    /// plaintext.
    #[must_use]
    pub fn connection(
        source: SocketAddr,
        destination: SocketAddr,
        identity: Option<&str>,
        server_name: &str,
    ) -> Self {
        Self {
            source,
            destination,
            server_name: server_name.to_owned(),
            tls: identity.map(|identity| TlsInfo::of_identity(Some(identity))),
            request: None,
        }
    }

    /// A request on it, by its head as HTTP/1.1 has it. None: that is no whole head.
    #[must_use]
    pub fn with_request(mut self, head: &[u8]) -> Option<Self> {
        let mut request = Request::default();
        let parsed = request.parse(head, MAX_HEADERS).ok()?;
        self.request = Some(request);
        matches!(parsed, Parsed::Complete(_)).then_some(self)
    }

    /// What the rules say of it.
    #[must_use]
    pub fn verdict<'c>(&self, rules: &'c Rules) -> Verdict<'c> {
        rules.verdict(&Attributes {
            connection: &ConnectionAttributes {
                source: self.source,
                direct_remote: self.source,
                remote: self.source,
                destination: self.destination,
                server_name: &self.server_name,
                tls: self.tls.as_ref(),
            },
            request: self.request.as_ref().map(|it| it as _),
            metadata: &Metadata::default(),
            route_metadata: None,
            filter_state: &FilterState::default(),
        })
    }
}
