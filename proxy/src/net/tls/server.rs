//! The server's end: a filter chain's context, and its handshakes.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use rustls::{
    ServerConfig,
    server::{ClientHello as Hello, NoClientAuth, ResolvesServerCert, UnbufferedServerConnection},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::{
    Built, HandshakeError, Sources, TlsInfo, TlsStream, Unusable, certificate,
    client_hello::{self, ClientHello, Inspection},
    handshake, provider, tickets, validation,
    verify::PeerVerifier,
    wrong,
};
use crate::{
    buffer::Buffer,
    config::tls::{DownstreamTlsContext, Secret, SecretValue, Tickets},
    secrets::Secrets,
};

/// What a filter chain needs for handshakes. Workers share it.
pub(crate) struct ServerContext {
    config: Arc<DownstreamTlsContext>,
    certificates: Sources,
    validation: Sources,
    ticket_keys: Sources,
    built: Built<Handshakes>,
}

/// What handshakes go by.
struct Handshakes {
    /// For clients with whom we have an application protocol in common.
    with_alpn: Arc<ServerConfig>,
    /// For others: rustls would refuse them, and Envoy does not.
    without_alpn: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

/// The certificates of a context, and how one is chosen.
#[derive(Debug)]
struct Certificates {
    all: Vec<Choice>,
    full_scan: bool,
}

#[derive(Debug)]
struct Choice {
    key: Arc<CertifiedKey>,
    dns_names: Vec<String>,
    is_ecdsa: bool,
}

// === impl ServerContext ===

impl ServerContext {
    pub(crate) fn new(config: &Arc<DownstreamTlsContext>, secrets: &Secrets) -> Self {
        let keys = match &config.tickets {
            Tickets::Keys(keys) => Some(keys),
            Tickets::Own | Tickets::Disabled => None,
        };
        Self {
            config: Arc::clone(config),
            certificates: Sources::new(config.common.certificates.iter(), secrets),
            validation: Sources::new(config.common.validation.iter(), secrets),
            ticket_keys: Sources::new(keys.into_iter(), secrets),
            built: Built::empty(),
        }
    }

    /// Makes a client's connection one of TLS. `incoming` is what was read of it.
    pub(crate) async fn accept(
        &self,
        mut socket: TcpStream,
        mut incoming: Buffer,
    ) -> Result<(TlsStream, TlsInfo), HandshakeError> {
        let sources = [&self.certificates, &self.validation, &self.ticket_keys];
        let built = self.built.of(sources, |secrets| self.build(secrets))?;
        let hello = read_hello(&mut socket, &mut incoming).await?;
        let alpn = &self.config.common.alpn_protocols;
        let shares = |hello: &ClientHello| {
            let mut theirs = hello.application_protocols.iter();
            theirs.any(|theirs| alpn.iter().any(|ours| **ours == *theirs.as_bytes()))
        };
        let config = match hello.as_ref().is_some_and(shares) {
            true => &built.with_alpn,
            false => &built.without_alpn,
        };
        let name = hello.and_then(|hello| hello.server_name);
        let local = built.certificates.of_name(name.as_deref());
        let local = local.first().map(|choice| Arc::clone(&choice.key));
        let connection = UnbufferedServerConnection::new(Arc::clone(config))?;
        handshake::run(connection, socket, incoming, |common| {
            TlsInfo::of(common, local)
        })
        .await
    }

    fn build(
        &self,
        [certificates, validation, keys]: &[Vec<Arc<Secret>>; 3],
    ) -> Result<Handshakes, Unusable> {
        let context = &self.config;
        let certificates = Arc::new(Certificates::new(context, certificates)?);
        let provider = provider(&context.common.parameters);
        let algorithms = provider.signature_verification_algorithms;
        let is_required = context.require_client_certificate;
        let verifier = match self::validation(validation)? {
            Some(validation) => Some(PeerVerifier::of_clients(
                validation,
                algorithms,
                is_required,
            )),
            // Any is taken, but there must be one.
            None if is_required => Some(PeerVerifier::of_clients(
                Default::default(),
                algorithms,
                true,
            )),
            None => None,
        };
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&context.common.parameters.versions)
            .map_err(Unusable::Wrong)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
        };
        let mut config =
            builder.with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        config.ignore_client_order = !context.prefer_client_ciphers;
        // Keys leave rustls for our own record layer.
        config.enable_secret_extraction = true;
        config.session_storage = tickets::no_storage();
        match (&context.tickets, keys.first().map(|secret| &secret.value)) {
            (Tickets::Disabled, _) => config.send_tls13_tickets = 0,
            (Tickets::Own, _) => {
                config.ticketer = tickets::own(context.session_timeout).map_err(Unusable::Wrong)?;
            }
            (Tickets::Keys(_), Some(SecretValue::TicketKeys(keys))) => {
                config.ticketer = tickets::of_keys(keys, context.session_timeout)
                    .ok_or_else(|| wrong("keys of tickets that cannot be used"))?;
            }
            (Tickets::Keys(_), _) => return Err(wrong("a secret is no key of tickets")),
        }
        let without_alpn = Arc::new(config.clone());
        config
            .alpn_protocols
            .clone_from(&context.common.alpn_protocols);
        Ok(Handshakes {
            with_alpn: Arc::new(config),
            without_alpn,
            certificates,
        })
    }
}

/// Reads until the ClientHello is there. None for what is none: rustls says what is wrong with it.
async fn read_hello(
    socket: &mut TcpStream,
    incoming: &mut Buffer,
) -> Result<Option<ClientHello>, HandshakeError> {
    loop {
        match client_hello::inspect(incoming.filled()) {
            Inspection::Yes(hello) => return Ok(Some(hello)),
            Inspection::No => return Ok(None),
            Inspection::NeedMore => {}
        }
        let read = poll_fn(|cx| {
            let read = poll_read_buf(Pin::new(&mut *socket), cx, incoming.room());
            if read.is_pending() {
                incoming.release();
            }
            read
        });
        if read.await? == 0 {
            return Err(HandshakeError::Closed);
        }
    }
}

// === impl Certificates ===

impl Certificates {
    fn new(context: &DownstreamTlsContext, secrets: &[Arc<Secret>]) -> Result<Self, Unusable> {
        let choice = |secret: &Arc<Secret>| {
            let certificate = certificate(secret)?;
            Ok(Choice {
                key: Arc::clone(&certificate.key),
                dns_names: certificate.dns_names.clone(),
                is_ecdsa: certificate.is_ecdsa,
            })
        };
        Ok(Self {
            all: secrets.iter().map(choice).collect::<Result<_, _>>()?,
            full_scan: context.full_scan_certs_on_sni_mismatch,
        })
    }

    /// Those that go by a name, in Envoy's order: that have it, that have a wildcard for it, all.
    fn of_name(&self, name: Option<&str>) -> Vec<&Choice> {
        let Some(name) = name else {
            return self.all.iter().collect();
        };
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        for wanted in [Some(name.to_owned()), wildcard].into_iter().flatten() {
            let has = |choice: &&Choice| choice.dns_names.contains(&wanted);
            let found: Vec<&Choice> = self.all.iter().filter(has).collect();
            if !found.is_empty() {
                return found;
            }
        }
        match self.full_scan {
            true => self.all.iter().collect(),
            false => self.all.first().into_iter().collect(),
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: Hello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let fits = |choice: &&&Choice| {
            let scheme = choice.key.key.choose_scheme(hello.signature_schemes());
            scheme.is_some()
        };
        let candidates = self.of_name(name.as_deref());
        let mut fitting = candidates.iter().filter(fits);
        let first = fitting.next();
        // Who can verify the cheaper kind of signature gets it.
        let chosen = match first {
            Some(first) if !first.is_ecdsa => fitting.find(|c| c.is_ecdsa).or(Some(first)),
            first => first,
        };
        chosen.map(|choice| Arc::clone(&choice.key))
    }
}
