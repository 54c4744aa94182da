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

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper_util::service::TowerToHyperService;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use weir_guard::{Guard, Slot};

use crate::{ControlError, certificates::Serving, guards, serve::stop};

/// The preferred one first.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Time for requests under way when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the router over HTTPS (HTTP/2 and HTTP/1.1) until `shutdown` completes; requests under
/// way then get ten seconds to end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    serving: &Arc<Serving>,
    shutdown: impl Future<Output = ()>,
) {
    let (guard, tls) = (
        guards::webhook(Vec::new()),
        serving.server_config(PROTOCOLS),
    );
    serve_guarded(listener, &guard, router, tls, shutdown).await;
}

/// The TLS of the webhooks: for clients with a certificate that one of those in this file signed, where
/// there is one.
pub(crate) fn tls(
    serving: &Arc<Serving>,
    client_ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, ControlError> {
    let Some(file) = client_ca else {
        return Ok(serving.server_config(PROTOCOLS));
    };
    let wrong = |reason: String| {
        ControlError::Config(format!("--webhook-client-ca {}: {reason}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file);
    for certificate in certificates.map_err(|error| wrong(error.to_string()))? {
        let added = certificate.map(|certificate| roots.add(certificate));
        let added = added.map_err(|error| wrong(error.to_string()))?;
        added.map_err(|error| wrong(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let clients = clients.map_err(|error| wrong(error.to_string()))?;
    Ok(serving.server_config_for(PROTOCOLS, clients))
}

/// [`serve`], to those whom this guard and this TLS let in.
pub(crate) async fn serve_guarded(
    listener: TcpListener,
    guard: &Arc<Guard>,
    router: Router,
    tls: Arc<ServerConfig>,
    shutdown: impl Future<Output = ()>,
) {
    let tls = TlsAcceptor::from(tls);
    let router = router.layer(middleware::from_fn(within_time));
    let (stopping, stopped) = watch::channel(false);
    let shutdown = async move {
        shutdown.await;
        stopping.send_replace(true);
    };
    let handle =
        |stream, _, slot| connection(stream, slot, tls.clone(), router.clone(), stopped.clone());
    weir_guard::serve(listener, guard, shutdown, DRAIN_TIMEOUT, handle).await;
}

async fn connection(
    stream: TcpStream,
    slot: Arc<Slot>,
    tls: TlsAcceptor,
    router: Router,
    stopped: watch::Receiver<bool>,
) {
    let handshake = tokio::select! {
        handshake = tls.accept(stream) => handshake,
        _ = slot.over() => return,
    };
    match handshake {
        Ok(stream) => {
            let service = TowerToHyperService::new(router);
            weir_guard::http(stream, slot, service, stop(stopped)).await;
        }
        Err(error) => tracing::debug!(%error, "TLS handshake"),
    }
}

/// Ends a request that takes too long, most likely because its body does not come.
async fn within_time(request: Request, next: Next) -> Response {
    match timeout(guards::REVIEW, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
    }
}

#[cfg(test)]
mod tests;
