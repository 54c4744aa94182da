//! What servers serve: the certificate of the moment.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

/// Hands the certificate of the moment to each handshake. Before there is one, handshakes fail.
#[derive(Debug, Default)]
pub struct Serving {
    current: ArcSwapOption<Issued>,
}

/// A serving certificate with its key, and when it ends.
#[derive(Debug)]
pub struct Issued {
    /// Certificate and key.
    pub certified: Arc<CertifiedKey>,
    /// When it ends.
    pub not_after: SystemTime,
}

// === impl Serving ===

impl Serving {
    /// Replaces the certificate. Handshakes under way and open connections keep the one they began
    /// with.
    pub fn set(&self, issued: Issued) {
        self.current.store(Some(Arc::new(issued)));
    }

    /// A server configuration that offers these protocols by ALPN, the preferred one first, and
    /// serves the certificate of the moment.
    pub fn server_config(self: &Arc<Self>, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        self.server_config_for(protocols, WebPkiClientVerifier::no_client_auth())
    }

    /// The same, for clients that this verifier lets in.
    pub(crate) fn server_config_for(
        self: &Arc<Self>,
        protocols: &[&[u8]],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let resolver: Arc<dyn ResolvesServerCert> = self.clone();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has a cipher suite for TLS 1.2 and 1.3")
            .with_client_cert_verifier(clients)
            .with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// When the certificate served now ends; `None` if there is none yet.
    pub fn not_after(&self) -> Option<SystemTime> {
        Some(self.current.load().as_ref()?.not_after)
    }

    /// The certificate served now, and those between it and a root; nothing if there is none yet.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let current = self.current.load();
        let current = current.as_ref();
        current.map_or_else(Vec::new, |issued| issued.certified.cert.clone())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().as_ref()?.certified))
    }
}

#[cfg(test)]
mod tests;
