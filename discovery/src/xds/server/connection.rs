//! One connection: keepalive, age, and how it ends.

use std::{error::Error, sync::Arc, time::Duration};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    service::Service,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tonic::service::Routes;
use weir_api::xds::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;

use super::AdsServer;

/// Time between pings to a client, and how long an answer may take: a dead client is gone within
/// half a minute.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to end once asked to.
const DRAIN: Duration = Duration::from_millis(500);

/// How a connection ends, which it and its streams tell each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Not yet.
    #[default]
    Open,
    /// It is old enough.
    Aged,
    /// The control plane stops.
    Stopping,
    /// The client does not read; there is nothing to wait for.
    Cut,
}

/// The end of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending(Arc<watch::Sender<End>>);

// === impl Ending ===

impl Ending {
    pub(super) fn set(&self, end: End) {
        self.0.send_replace(end);
    }

    /// Completes when the end is one of these.
    pub(super) async fn reached(&self, wanted: impl Fn(End) -> bool) -> End {
        let mut end = self.0.subscribe();
        let reached = end.wait_for(|end| wanted(*end)).await;
        // The sender is `self`, so it is never gone while this waits.
        reached.map_or(End::Open, |end| *end)
    }
}

/// Serves ADS and what is served beside it on one connection until it ends. When `shutdown` turns true, and when the connection
/// has reached its age, the client is told to come again.
///
/// # Errors
/// The connection broke, or the peer does not speak HTTP/2.
pub async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: AdsServer,
    shutdown: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    serve_connection_with(io, server, shutdown, |service| service).await
}

/// [`serve_connection`] with a service around the service, such as one that counts requests.
///
/// # Errors
/// The connection broke, or the peer does not speak HTTP/2.
pub async fn serve_connection_with<S, B>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut server: AdsServer,
    mut shutdown: watch::Receiver<bool>,
    around: impl FnOnce(TowerToHyperService<Routes>) -> S,
) -> Result<(), hyper::Error>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let ending = Ending::default();
    server.ending = ending.clone();
    let (hub, limits) = (server.hub.clone(), server.limits.clone());
    let others = std::mem::take(&mut server.others);
    let ads = AggregatedDiscoveryServiceServer::new(server)
        .max_decoding_message_size(limits.request_size);
    let service = others.add_service(ads);
    let mut connection = std::pin::pin!(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .max_concurrent_streams(limits.streams)
            .serve_connection(TokioIo::new(io), around(TowerToHyperService::new(service)))
    );
    let end = tokio::select! {
        result = connection.as_mut() => return result,
        _ = shutdown.wait_for(|stop| *stop) => End::Stopping,
        () = tokio::time::sleep(limits.age()) => End::Aged,
        end = ending.reached(|end| end == End::Cut) => end,
    };
    if end == End::Cut {
        return Ok(());
    }
    if end == End::Aged {
        hub.metrics().update(|counts| counts.connections_aged += 1);
    }
    connection.as_mut().graceful_shutdown();
    ending.set(end);
    // Streams end by themselves now; a client that does not read would keep its own open.
    let _ = tokio::time::timeout(DRAIN, connection.as_mut()).await;
    Ok(())
}
