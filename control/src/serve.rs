//! Sockets and accept loops.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use weir_api::{ca::CertificateServer, sidecar::CA_FILE};
use weir_discovery::xds::{AdsServer, serve_connection_with};
use weir_guard::{Guard, Requests, Slot};

use crate::{Config, ControlError, issuer::CertificateAuthority};

/// Time for connections to end when the control plane does. Those of xDS take half a second.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Every socket, bound before anything is served.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) xds_plaintext: TcpListener,
    pub(crate) xds: TcpListener,
    pub(crate) debug: TcpListener,
    pub(crate) webhook: TcpListener,
}

/// What is served where, as scripts read it from standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// xDS without TLS.
    pub xds_plaintext: SocketAddr,
    /// xDS over TLS.
    pub xds: SocketAddr,
    /// Metrics and debug endpoints.
    pub debug: SocketAddr,
    /// Admission webhooks.
    pub webhook: SocketAddr,
    /// What clients of `xds` and `webhook` trust, with manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_cert: Option<PathBuf>,
}

/// Connections that wait to be accepted. All sidecars of a cluster may come back at once after a
/// restart; one for which there is no place is reset. The kernel's limit is net.core.somaxconn.
const BACKLOG: u32 = 4096;

// === impl Sockets ===

impl Sockets {
    pub(crate) fn bind(config: &Config) -> Result<Self, ControlError> {
        Ok(Self {
            xds_plaintext: bind("--xds-plaintext-addr", config.xds_plaintext_addr)?,
            xds: bind("--xds-addr", config.xds_addr)?,
            debug: bind("--debug-addr", config.debug_addr)?,
            webhook: bind("--webhook-addr", config.webhook_addr)?,
        })
    }

    pub(crate) fn bound(&self, config: &Config) -> Result<Bound, ControlError> {
        let what = "cannot read a socket's address";
        let address = |listener: &TcpListener| {
            let address = listener.local_addr();
            address.map_err(|source| ControlError::System { what, source })
        };
        Ok(Bound {
            xds_plaintext: address(&self.xds_plaintext)?,
            xds: address(&self.xds)?,
            debug: address(&self.debug)?,
            webhook: address(&self.webhook)?,
            root_cert: config
                .manifests
                .as_ref()
                .map(|_| config.certs_dir.join(CA_FILE)),
        })
    }
}

fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, ControlError> {
    let failed = |source| ControlError::Bind {
        flag,
        address,
        source,
    };
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // A port whose last connections still linger is free again for a control plane that restarts.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(failed)
}

/// Completes when `stopped` turns true.
pub(crate) async fn stop(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// What sidecars are served on one port.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) ads: AdsServer,
    pub(crate) certificates: CertificateAuthority,
}

// === impl Services ===

impl Services {
    fn for_peer(&self, peer: SocketAddr) -> AdsServer {
        let certificates = Arc::new(self.certificates.for_peer(peer));
        let certificates = Routes::new(CertificateServer::new(certificates));
        self.ads.clone().for_peer(peer).beside(certificates)
    }
}

/// Serves xDS and certificates until `stopped` turns true.
pub(crate) async fn xds(
    listener: TcpListener,
    guard: Arc<Guard>,
    tls: Option<TlsAcceptor>,
    services: Services,
    stopped: watch::Receiver<bool>,
) {
    let handle = |stream, peer, slot: Arc<Slot>| {
        let (tls, server) = (tls.clone(), services.for_peer(peer));
        let stopped = stopped.clone();
        async move {
            let connection = xds_connection(stream, tls, server, Arc::clone(&slot), stopped);
            tokio::select! {
                served = connection => if let Err(error) = served {
                    tracing::debug!(%peer, error, "xDS connection");
                },
                closed = slot.over() => tracing::debug!(%peer, %closed, "closed an xDS connection"),
            }
        }
    };
    weir_guard::serve(
        listener,
        &guard,
        stop(stopped.clone()),
        DRAIN_TIMEOUT,
        handle,
    )
    .await;
}

async fn xds_connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    server: AdsServer,
    slot: Arc<Slot>,
    stopped: watch::Receiver<bool>,
) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    // Messages are small and waited for.
    stream.set_nodelay(true).map_err(text)?;
    let counted = |service| Requests::new(service, slot);
    let served = match tls {
        None => serve_connection_with(stream, server, stopped, counted).await,
        Some(tls) => {
            let stream = tls.accept(stream).await.map_err(text)?;
            serve_connection_with(stream, server, stopped, counted).await
        }
    };
    served.map_err(|error| error.to_string())
}

/// Serves a router over plain HTTP/1.1 until `stopped` turns true.
pub(crate) async fn http(
    listener: TcpListener,
    guard: Arc<Guard>,
    router: Router,
    stopped: watch::Receiver<bool>,
) {
    let handle = |stream, peer: SocketAddr, slot| {
        // Debug endpoints ask where a request comes from.
        let router = router.clone().layer(Extension(ConnectInfo(peer)));
        let (service, stopped) = (TowerToHyperService::new(router), stopped.clone());
        weir_guard::http1(stream, slot, service, stop(stopped))
    };
    weir_guard::serve(
        listener,
        &guard,
        stop(stopped.clone()),
        DRAIN_TIMEOUT,
        handle,
    )
    .await;
}
