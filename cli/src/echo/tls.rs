//! TLS with a certificate made on the spot for whatever name the client asks for.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Name in the certificate of a client that asks for none.
const NO_NAME: &str = "echo.invalid";
/// Names for which certificates are kept; more start over, so that clients cannot fill the memory.
const KEPT: usize = 256;

/// Accepts TLS connections.
pub(super) struct Acceptor(TlsAcceptor);

/// Makes certificates and keeps them.
struct SelfSigned(Mutex<HashMap<String, Arc<CertifiedKey>>>);

// === impl Acceptor ===

impl Acceptor {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SelfSigned(Mutex::default())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The decrypted stream, and what the handshake said.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Value)> {
        let stream = self.0.accept(stream).await?;
        let (_, session) = stream.get_ref();
        let session = json!({
            "sni": session.server_name(),
            "alpn": session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            "version": session.protocol_version().map(|version| format!("{version:?}")),
        });
        Ok((stream, session))
    }
}

// === impl SelfSigned ===

impl ResolvesServerCert for SelfSigned {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or(NO_NAME).to_owned();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = kept.get(&name) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(make(&name)?);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(name, Arc::clone(&key));
        Some(key)
    }
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelfSigned")
    }
}

fn make(name: &str) -> Option<CertifiedKey> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).ok()?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).ok()?;
    let key = aws_lc_rs::sign::any_supported_type(&key).ok()?;
    Some(CertifiedKey::new(vec![made.cert.der().clone()], key))
}
