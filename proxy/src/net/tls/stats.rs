//! Statistics of handshakes, of a listener or of a cluster.

use rustls::{CertificateError, Error};

use super::{HandshakeError, TlsInfo, verify::Mismatch};
use crate::stat_set;

stat_set! {
    /// `listener.<address>.ssl.*` and `cluster.<name>.ssl.*`, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/stats#tls-statistics>
    pub(crate) struct SslStats {
        /// Connections whose handshake failed for another reason than the peer's certificate.
        connection_error: Counter,
        /// Handshakes that were completed.
        handshake: Counter,
        /// Handshakes that resumed an earlier session.
        session_reused: Counter,
        /// Handshakes in which the peer showed no certificate.
        no_certificate: Counter,
        /// Clients that were refused because they showed no certificate.
        fail_verify_no_cert: Counter,
        /// Peers whose certificate could not be verified: expired, of an unknown authority, revoked.
        fail_verify_error: Counter,
        /// Peers whose certificate has none of the names that were wanted.
        fail_verify_san: Counter,
        /// Peers whose certificate, or its key, is none of those that were wanted.
        fail_verify_cert_hash: Counter,
        /// Handshakes by version.
        versions: NamedCounters,
        /// Handshakes by cipher suite.
        ciphers: NamedCounters,
        /// Handshakes by the group of the key exchange.
        curves: NamedCounters,
    }
}

// === impl SslStats ===

impl SslStats {
    /// Counts how a handshake ended.
    pub(crate) fn count(&self, handshake: Result<&TlsInfo, &HandshakeError>) {
        match handshake {
            Ok(info) => {
                tracing::debug!(
                    version = info.version,
                    cipher_suite = info.cipher_suite,
                    application_protocol = info.application_protocol,
                    resumed = info.is_resumed,
                    "a TLS handshake is done",
                );
                self.handshake.inc();
                self.versions.inc(info.version);
                self.ciphers.inc(&info.openssl_cipher());
                if let Some(group) = info.group {
                    self.curves.inc(group);
                }
                if info.is_resumed {
                    self.session_reused.inc();
                }
                if info.peer.is_empty() {
                    self.no_certificate.inc();
                }
            }
            Err(HandshakeError::SecretsNotReady) => {}
            Err(HandshakeError::Tls(Error::NoCertificatesPresented)) => {
                self.fail_verify_no_cert.inc();
            }
            Err(HandshakeError::Tls(Error::InvalidCertificate(error))) => {
                self.count_certificate(error);
            }
            Err(_) => self.connection_error.inc(),
        }
    }

    fn count_certificate(&self, error: &CertificateError) {
        let mismatch = match error {
            CertificateError::Other(other) => other.0.downcast_ref::<Mismatch>(),
            _ => None,
        };
        match mismatch {
            Some(Mismatch::San) => self.fail_verify_san.inc(),
            Some(Mismatch::Hash) => self.fail_verify_cert_hash.inc(),
            None => self.fail_verify_error.inc(),
        }
    }
}
