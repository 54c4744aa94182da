//! How bytes travel to the endpoints of a cluster.

use std::{io, sync::Arc};

use serde_json::{Map, Value};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::Host;
use crate::{
    config::{
        self,
        proxy_protocol::{ProxyProtocol, ProxyProtocolVersion},
        tls::{TransportSocket, UpstreamTlsContext},
    },
    net::{
        proxy_header::{self, Client},
        tls::{ClientContext, Destination, HandshakeError, SslStats, TlsInfo, TlsStream},
        transport_socket::Connection,
    },
    secrets::Secrets,
    singletons::Singletons,
    stat_set,
    stats::{Registry, Scope, Within},
};

stat_set! {
    /// `cluster.<name>.client_ssl_socket_factory.*`, with Envoy's names.
    pub(super) struct SocketFactoryStats {
        /// Connections that could not be made because a secret was not there yet.
        upstream_context_secrets_not_ready: Counter,
    }
}

/// How bytes travel to the endpoints of a cluster.
pub(super) struct UpstreamSockets {
    /// Of those that [`config::Cluster::transport_socket_matches`] lists.
    chosen: Vec<UpstreamSocket>,
    /// Of endpoints that none of these matches.
    default: UpstreamSocket,
    config: Arc<config::Cluster>,
    stats: Option<Stats>,
}

/// How bytes travel to an endpoint.
enum UpstreamSocket {
    Raw,
    Tls(Arc<ClientContext>),
}

/// A socket that is ready for bytes.
pub(super) enum Secured {
    Raw(TcpStream),
    Tls(Box<TlsStream>, Box<TlsInfo>),
}

struct Stats {
    ssl: Arc<Within<SslStats>>,
    factory: Arc<Within<SocketFactoryStats>>,
}

/// What is offered where no application protocols are configured.
pub(crate) type DefaultProtocols = &'static [&'static str];

// === impl UpstreamSockets ===

impl UpstreamSockets {
    pub(super) fn new(
        config: &Arc<config::Cluster>,
        registry: &Registry,
        singletons: &Singletons,
        secrets: &Secrets,
    ) -> Self {
        let validates_san = config
            .auto_sni
            .as_ref()
            .is_some_and(|auto| auto.validates_san);
        let socket = |config| UpstreamSocket::new(config, validates_san, singletons, secrets);
        let chosen = config.transport_socket_matches.iter();
        let scope = || Scope::cluster(&config.stat_name);
        Self {
            chosen: chosen.map(|one| socket(&one.transport_socket)).collect(),
            default: socket(&config.transport_socket),
            config: Arc::clone(config),
            stats: config.tls_contexts().next().map(|_| Stats {
                ssl: registry.register_within(scope(), "ssl.", SslStats::default()),
                factory: registry.register_within(
                    scope(),
                    "client_ssl_socket_factory.",
                    SocketFactoryStats::default(),
                ),
            }),
        }
    }

    /// The one for an endpoint, by what its metadata says.
    fn of(&self, said: Option<&Map<String, Value>>) -> &UpstreamSocket {
        let mut choices = self
            .config
            .transport_socket_matches
            .iter()
            .zip(&self.chosen);
        let chosen = choices.find(|(choice, _)| choice.matches(said));
        chosen.map_or(&self.default, |(_, socket)| socket)
    }

    /// What goes before all bytes to an endpoint that says this of itself.
    pub(super) fn proxy_protocol(
        &self,
        said: Option<&Map<String, Value>>,
    ) -> Option<&Arc<ProxyProtocol>> {
        let mut choices = self.config.transport_socket_matches.iter();
        match choices.find(|choice| choice.matches(said)) {
            Some(chosen) => chosen.proxy_protocol.as_ref(),
            None => self.config.proxy_protocol.as_ref(),
        }
    }

    /// Makes a socket that was connected to `host` a connection. With it, whether the handshake has
    /// decided for HTTP/2.
    pub(super) async fn connect(
        &self,
        socket: TcpStream,
        host: &Host,
        default_protocols: DefaultProtocols,
    ) -> Result<(Connection, bool), HandshakeError> {
        let destination = Destination {
            ip: host.address.ip(),
            hostname: &host.hostname,
            server_name: host.server_name(),
            client: host.client(),
            default_protocols,
            only_protocols: None,
            buffer_limit: self.config.buffer_limit,
        };
        let said = host.transport_socket_match.as_deref();
        let secured = self.secure(socket, said, &destination).await?;
        Ok(match secured {
            Secured::Raw(socket) => (Connection::raw(socket), false),
            Secured::Tls(stream, info) => {
                if let Some(peer) = host.peer() {
                    peer.note(&info);
                }
                let is_http2 = info.application_protocol.as_deref() == Some("h2");
                (Connection::boxed_tls(stream), is_http2)
            }
        })
    }

    /// The same of an endpoint that says this of itself.
    pub(super) async fn secure(
        &self,
        mut socket: TcpStream,
        said: Option<&Map<String, Value>>,
        destination: &Destination<'_>,
    ) -> Result<Secured, HandshakeError> {
        if let Some(config) = self.proxy_protocol(said) {
            // On the heap: few clusters have it.
            let header = Box::pin(proxy_header(&mut socket, config, destination.client));
            header.await.map_err(HandshakeError::Io)?;
        }
        let UpstreamSocket::Tls(context) = self.of(said) else {
            return Ok(Secured::Raw(socket));
        };
        // On the heap: a connection lives longer than its handshake.
        let connected = Box::pin(context.connect(socket, destination)).await;
        if let Some(stats) = &self.stats {
            let ended = connected.as_ref().map(|(_, info)| info);
            stats.ssl.count(ended);
            if let Err(HandshakeError::SecretsNotReady) = &connected {
                stats.factory.upstream_context_secrets_not_ready.inc();
            }
        }
        connected.map(|(stream, info)| Secured::Tls(Box::new(stream), Box::new(info)))
    }

    /// Whether TLS is spoken with an endpoint that says this of itself.
    pub(super) fn is_tls(&self, said: Option<&Map<String, Value>>) -> bool {
        matches!(self.of(said), UpstreamSocket::Tls(_))
    }
}

/// Sends the header that goes before all bytes. Where nobody is spoken for, as by a health check, it
/// has, as Envoy's, the ends of the connection itself in version 1, and no ends in version 2.
async fn proxy_header(
    socket: &mut TcpStream,
    config: &ProxyProtocol,
    client: Option<&Client>,
) -> io::Result<()> {
    let header = match (client, config.version) {
        (None, ProxyProtocolVersion::V1) => {
            let own = Client {
                ends: (socket.local_addr()?, socket.peer_addr()?),
                tlvs: Vec::new(),
            };
            proxy_header::write(config, Some(&own))
        }
        (client, _) => proxy_header::write(config, client),
    };
    socket.write_all(&header).await
}

// === impl UpstreamSocket ===

impl UpstreamSocket {
    fn new(
        config: &TransportSocket<UpstreamTlsContext>,
        validates_san: bool,
        singletons: &Singletons,
        secrets: &Secrets,
    ) -> Self {
        match config {
            TransportSocket::RawBuffer => Self::Raw,
            TransportSocket::Tls(config) => {
                // Workers share what was made of secrets, and sessions.
                let fingerprint = config.common.fingerprint;
                let name = format!("upstream tls {fingerprint:x} {validates_san}");
                let make = || ClientContext::new(config, validates_san, secrets);
                Self::Tls(singletons.get(&name, make))
            }
        }
    }
}
