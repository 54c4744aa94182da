//! The client's end: a cluster's context, and its handshakes.

use crate::buffer::BufferLimit;
use std::{net::IpAddr, sync::Arc};

use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption, UnbufferedClientConnection},
    pki_types::ServerName,
    sign::CertifiedKey,
};
use tokio::net::TcpStream;

use super::{
    Built, HandshakeError, Sources, TlsInfo, TlsStream, Unusable, certificate, handshake, provider,
    validation, verify::PeerVerifier,
};
use crate::{
    buffer::Buffer,
    config::tls::{Secret, UpstreamTlsContext},
    secrets::Secrets,
};

/// Names whose sessions a context keeps: those that a cluster is reached by.
const NAMES: usize = 64;

/// What a cluster needs for handshakes. Workers share it.
pub(crate) struct ClientContext {
    config: Arc<UpstreamTlsContext>,
    /// The endpoint's certificate must be of the name it is asked for.
    validates_san: bool,
    certificates: Sources,
    validation: Sources,
    built: Built<Client>,
}

/// What was made of secrets.
struct Client {
    config: Arc<ClientConfig>,
    /// Our own certificate.
    local: Option<Arc<CertifiedKey>>,
}

/// Whom a handshake is with.
pub(crate) struct Destination<'d> {
    pub(crate) ip: IpAddr,
    /// The endpoint's own name; may be empty.
    pub(crate) hostname: &'d str,
    /// Takes the place of the configured SNI.
    pub(crate) server_name: Option<&'d str>,
    /// Whom the connection is for, and whom that has called, where an endpoint is told.
    pub(crate) client: Option<&'d super::super::proxy_header::Client>,
    /// Offered where no application protocols are configured.
    pub(crate) default_protocols: &'d [&'d str],
    /// Offered whatever is configured, unless empty.
    pub(crate) only_protocols: Option<&'d [Vec<u8>]>,
    /// How much the connection may hold.
    pub(crate) buffer_limit: BufferLimit,
}

/// Our certificate, whoever asks.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

// === impl ClientContext ===

impl ClientContext {
    /// `validates_san`: whatever the context says of it.
    pub(crate) fn new(
        config: &Arc<UpstreamTlsContext>,
        validates_san: bool,
        secrets: &Secrets,
    ) -> Self {
        Self {
            validates_san: validates_san || config.auto_sni_san_validation,
            config: Arc::clone(config),
            certificates: Sources::new(config.common.certificates.iter(), secrets),
            validation: Sources::new(config.common.validation.iter(), secrets),
            built: Built::empty(),
        }
    }

    /// Makes a connection to an endpoint one of TLS.
    pub(crate) async fn connect(
        &self,
        socket: TcpStream,
        destination: &Destination<'_>,
    ) -> Result<(TlsStream, TlsInfo), HandshakeError> {
        let sources = [&self.certificates, &self.validation];
        let client = self.built.of(sources, |secrets| self.build(secrets))?;
        let name = self.server_name(destination)?;
        let mut protocols = self.config.common.alpn_protocols.clone();
        if let Some(only) = destination.only_protocols.filter(|only| !only.is_empty()) {
            protocols = only.to_vec();
        } else if protocols.is_empty() {
            let defaults = destination.default_protocols.iter();
            protocols = defaults.map(|name| name.as_bytes().to_vec()).collect();
        } else if let Some(http) = http_of_mesh(&protocols, destination.default_protocols) {
            protocols.insert(0, http.to_vec());
        }
        let connection =
            UnbufferedClientConnection::new_with_alpn(Arc::clone(&client.config), name, protocols)?;
        handshake::run(
            connection,
            socket,
            Buffer::of(destination.buffer_limit),
            |common| TlsInfo::of(common, client.local.clone()),
        )
        .await
    }

    /// What SNI says. An address stands for no SNI at all.
    fn server_name(&self, destination: &Destination<'_>) -> Result<ServerName<'static>, Unusable> {
        let own =
            Some(destination.hostname).filter(|name| self.config.auto_host_sni && !name.is_empty());
        let name = destination.server_name.or(own).unwrap_or(&self.config.sni);
        if name.is_empty() {
            return Ok(destination.ip.into());
        }
        ServerName::try_from(name.to_owned())
            .map_err(|_| super::wrong(format!("SNI {name:?} is no name of a host")))
    }

    fn build(
        &self,
        [certificates, validation]: &[Vec<Arc<Secret>>; 2],
    ) -> Result<Client, Unusable> {
        let context = &self.config;
        let provider = provider(&context.common.parameters);
        let algorithms = provider.signature_verification_algorithms;
        let mut validation = self::validation(validation)?.unwrap_or_default();
        if context.auto_sni_san_validation {
            if validation.trusted_ca.is_none() {
                return Err(super::wrong("auto_sni_san_validation needs trusted_ca"));
            }
            // The name in SNI takes the place of others.
            validation.san_matchers.clear();
        }
        let verifier = PeerVerifier::of_servers(validation, algorithms, self.validates_san);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&context.common.parameters.versions)
            .map_err(Unusable::Wrong)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let local = match certificates.first() {
            Some(secret) => Some(Arc::clone(&certificate(secret)?.key)),
            None => None,
        };
        let mut config = match &local {
            Some(key) => {
                builder.with_client_cert_resolver(Arc::new(OneCertificate(Arc::clone(key))))
            }
            None => builder.with_no_client_auth(),
        };
        // Keys leave rustls for our own record layer.
        config.enable_secret_extraction = true;
        config.resumption = match context.max_session_keys {
            0 => Resumption::disabled(),
            _ => Resumption::in_memory_sessions(NAMES),
        };
        Ok(Client {
            config: Arc::new(config),
            local,
        })
    }
}

/// What a mesh that tells its TLS from others' by the protocol `istio` calls HTTP within it, and Istio's
/// proxies by a filter of theirs: whoever serves has to know before the first request.
fn http_of_mesh(configured: &[Vec<u8>], spoken: &[&str]) -> Option<&'static [u8]> {
    let first = configured.first()?;
    let http: &[u8] = match *spoken.first()? {
        "h2" => b"istio-h2",
        "http/1.1" => b"istio-http/1.1",
        _ => return None,
    };
    (first == b"istio").then_some(http)
}

// === impl OneCertificate ===

impl ResolvesClientCert for OneCertificate {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = self.0.key.choose_scheme(schemes).is_some();
        fits.then(|| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_has_a_name_of_its_own_in_a_mesh_and_nowhere_else() {
        let configured = |names: &[&str]| -> Vec<Vec<u8>> {
            names.iter().map(|name| name.as_bytes().to_vec()).collect()
        };
        for (names, spoken, expected) in [
            (
                &["istio"][..],
                &["http/1.1"][..],
                Some(&b"istio-http/1.1"[..]),
            ),
            (&["istio"], &["h2"], Some(b"istio-h2")),
            (&["istio"], &[], None),
            (&["istio-h2", "istio", "h2"], &["h2"], None),
            (&["h2", "http/1.1"], &["http/1.1"], None),
        ] {
            assert_eq!(
                http_of_mesh(&configured(names), spoken),
                expected,
                "{names:?}"
            );
        }
    }
}
