//! How bytes arrive on the connections of a filter chain.

use std::{sync::Arc, time::Duration};

use crate::{
    buffer::Buffer,
    config::{
        listener::FilterChain,
        tls::{DownstreamTlsContext, TransportSocket},
    },
    factory_context::FactoryContext,
    net::{
        tls::{HandshakeError, ServerContext, SslStats, TlsInfo},
        transport_socket::Connection,
    },
    reason::Reason,
    stat_set,
    stats::{Scope, Within},
};

stat_set! {
    /// `listener.<address>.server_ssl_socket_factory.*`, with Envoy's names.
    pub(super) struct SocketFactoryStats {
        /// Connections that were closed because a secret was not there yet.
        downstream_context_secrets_not_ready: Counter,
    }
}

/// TLS on the connections of a filter chain, in one worker.
pub(super) struct DownstreamTls {
    context: Arc<ServerContext>,
    timeout: Option<Duration>,
    stats: Arc<Within<SslStats>>,
    factory: Arc<Within<SocketFactoryStats>>,
}

// === impl DownstreamTls ===

impl DownstreamTls {
    /// None if the chain's connections are raw.
    pub(super) fn new(
        chain: &FilterChain,
        stat_prefix: &str,
        context: &FactoryContext,
    ) -> Option<Self> {
        let TransportSocket::Tls(config) = &chain.transport_socket else {
            return None;
        };
        let scope = || Scope::listener(stat_prefix);
        let (registry, factory) = (&context.registry, "server_ssl_socket_factory.");
        Some(Self {
            context: server_context(config, context),
            timeout: chain.transport_socket_connect_timeout,
            stats: registry.register_within(scope(), "ssl.", SslStats::default()),
            factory: registry.register_within(scope(), factory, SocketFactoryStats::default()),
        })
    }

    /// Makes a client's connection one of TLS. `buffer` is what was read of it.
    pub(super) async fn accept(
        &self,
        connection: Connection,
        buffer: Buffer,
    ) -> Result<(Connection, TlsInfo), Reason> {
        let Some(socket) = connection.into_raw() else {
            return Err(Reason::DownstreamTls);
        };
        let accepting = self.context.accept(socket, buffer);
        let accepted = match self.timeout {
            None => accepting.await,
            Some(limit) => tokio::time::timeout(limit, accepting)
                .await
                .unwrap_or(Err(HandshakeError::Timeout)),
        };
        self.stats.count(accepted.as_ref().map(|(_, info)| info));
        accepted
            .map(|(stream, info)| (Connection::tls(stream), info))
            .map_err(|error| {
                tracing::debug!(%error, "a client's TLS handshake failed");
                match error {
                    HandshakeError::SecretsNotReady => {
                        self.factory.downstream_context_secrets_not_ready.inc();
                        Reason::DownstreamSecretsNotReady
                    }
                    HandshakeError::Timeout => Reason::DownstreamTlsTimeout,
                    HandshakeError::Closed | HandshakeError::Io(_) | HandshakeError::Tls(_) => {
                        Reason::DownstreamTls
                    }
                }
            })
    }
}

/// Workers, and chains that say the same, share what was made of secrets, and sessions.
fn server_context(
    config: &Arc<DownstreamTlsContext>,
    context: &FactoryContext,
) -> Arc<ServerContext> {
    let name = format!("downstream tls {:x}", config.common.fingerprint);
    let make = || ServerContext::new(config, &context.secrets);
    context.singletons.get(&name, make)
}
