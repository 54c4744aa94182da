//! Who the two sidecars are: certificates of one authority, P-256.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use weir_tests::certificates::{Authority, Certificate};

use crate::pods::Side;

/// What the identities of the mesh begin with.
pub(super) const TRUST_DOMAIN: &str = "spiffe://cluster.local/";
const CLIENT: &str = "spiffe://cluster.local/ns/bench/sa/client";
/// The server's, as its client expects it.
pub(super) const SERVER: &str = "spiffe://cluster.local/ns/bench/sa/server";
/// SNI, and the server's other name: HAProxy matches no URIs.
pub(super) const SERVER_NAME: &str = "backend.bench.svc.cluster.local";

/// The file with the authority's certificate.
pub(super) const AUTHORITY_FILE: &str = "authority.pem";

/// The certificates of a run.
#[derive(Debug)]
pub(crate) struct Identities {
    authority: Authority,
    client: Certificate,
    server: Certificate,
}

// === impl Identities ===

impl Identities {
    /// Makes them, and has them in files of `directory`, too, for HAProxy.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let authority = Authority::new("bench");
        let identities = Self {
            client: authority.issue(&[CLIENT]),
            server: authority.issue(&[SERVER, SERVER_NAME]),
            authority,
        };
        let own = [Side::Outbound, Side::Inbound].map(|side| {
            let Certificate { chain, key, .. } = identities.of(side);
            (own_file(side), format!("{chain}{key}"))
        });
        let authority = (AUTHORITY_FILE, identities.authority().to_owned());
        for (name, text) in own.into_iter().chain([authority]) {
            fs::write(directory.join(name), text).with_context(|| name.to_owned())?;
        }
        Ok(identities)
    }

    /// The certificate that vouches for both, PEM.
    pub(super) fn authority(&self) -> &str {
        &self.authority.pem
    }

    /// The certificate of a sidecar, and its key.
    pub(super) fn of(&self, side: Side) -> &Certificate {
        match side {
            Side::Outbound => &self.client,
            Side::Inbound => &self.server,
        }
    }
}

/// The file with a sidecar's certificate and its key.
pub(super) fn own_file(side: Side) -> &'static str {
    match side {
        Side::Outbound => "client.pem",
        Side::Inbound => "server.pem",
    }
}
