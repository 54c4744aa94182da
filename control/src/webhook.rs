//! HTTPS for the webhooks.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::{path::Path, sync::Arc};
//! use weir_control::{certificates::Certificates, webhook};
//! use weir_injector::{Config, webhook::Injector};
//!
//! let certificates = Certificates::open(Path::new("/var/lib/weir"), &["127.0.0.1".to_owned()])?;
//! let injector = Arc::new(Injector::new(Config::default()));
//! let listener = tokio::net::TcpListener::bind("[::]:15017").await?;
//! let shutdown = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//! webhook::serve(listener, weir_injector::webhook::router(injector), certificates.serving(), shutdown).await;
//! # Ok(())
//! # }
//! ```

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Serving;

/// Connections served at a time; more wait in the kernel's queue. An API server keeps one or two
/// open, so a thousand is only reached by something that is none.
const MAX_CONNECTIONS: usize = 1024;
/// Time for a TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request as a whole. API servers wait 30 s at most, 5 s for our webhooks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an HTTP/2 client that says nothing is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Time for requests under way when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which is most likely a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the router over HTTPS (HTTP/2 and HTTP/1.1) until `shutdown` completes; requests under
/// way then get ten seconds to end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    serving: &Arc<Serving>,
    shutdown: impl Future<Output = ()>,
) {
    let tls = TlsAcceptor::from(serving.server_config(&[b"h2", b"http/1.1"]));
    let router = router.layer(middleware::from_fn(within_time));
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accept = async {
            // The semaphore is never closed, so this waits and does not fail.
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(stream, &tls, router, watcher).await {
                tracing::debug!(error, "a connection failed");
            }
        });
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the time to end them was over");
    }
}

async fn connection(
    stream: TcpStream,
    tls: &TlsAcceptor,
    router: Router,
    watcher: Watcher,
) -> Result<(), String> {
    let handshake = timeout(HEAD_TIMEOUT, tls.accept(stream)).await;
    let handshake = handshake.map_err(|_| "no TLS handshake in time".to_owned())?;
    let stream = handshake.map_err(|error| format!("TLS handshake: {error}"))?;
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE);
    let service = TowerToHyperService::new(router);
    let connection = server
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    watcher
        .watch(connection)
        .await
        .map_err(|error| error.to_string())
}

/// Ends a request that takes too long, most likely because its body does not come.
async fn within_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
    }
}

#[cfg(test)]
mod tests;
