//! The end of the sidecar's life. SIGTERM is not "stop": inbound listeners announce the close but
//! still accept, and what the pod itself calls works until the end.
//!
//! A native sidecar is stopped when the application has ended, and has only to wait for what is
//! still open. A classic one is stopped together with the application, which may work and call on
//! for as long as the pod's grace period. It ends when no other process in the pod has a socket
//! ([`application`]) and nothing was called for a while.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use weir_api::ports;
use weir_proxy::server::Handle;

use super::application;
use crate::shutdown::Signals;

/// How often the open connections and sockets are counted.
const POLL: Duration = Duration::from_millis(100);
/// An application without a socket for so long has ended. Between two calls of one that ends, such
/// as its last reports, less passes.
const SETTLED: Duration = Duration::from_secs(2);
/// Time for what is still open when the application has ended: answers on their way to a slow peer.
const LINGER: Duration = Duration::from_secs(5);

/// Bounds of draining.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Serve at least so long. Zero: the application has ended when the signal comes.
    pub(super) minimum: Duration,
    /// End then, whatever is open.
    pub(super) timeout: Duration,
}

/// Waits for a signal, drains, and is ready when the application needs it no more, time is up, or a
/// second signal came.
pub(super) async fn until_done(mut signals: Signals, handle: Handle, limits: Limits) {
    signals.next().await;
    handle.drain(true);
    let started = Instant::now();
    tokio::select! {
        () = signals.next() => tracing::info!("second signal: ending at once"),
        () = sleep(limits.timeout) => {
            let open = handle.active_connections();
            tracing::warn!(open, "drain timeout: connections are cut");
        }
        () = quiet(&handle, limits.minimum) => {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(seconds, "drained");
        }
    }
}

/// Ready when nobody is left to serve.
async fn quiet(handle: &Handle, minimum: Duration) {
    if minimum.is_zero() {
        return all_closed(handle).await;
    }
    tokio::join!(sleep(minimum), application_ended(handle));
    // Its peers may hold connections that lead nowhere any more.
    let _ = tokio::time::timeout(LINGER, all_closed(handle)).await;
}

/// Ready when nothing is open.
async fn all_closed(handle: &Handle) {
    while handle.active_connections() > 0 {
        sleep(POLL).await;
    }
}

/// Ready when no process of the pod but this has a socket, and none has called, for a while.
async fn application_ended(handle: &Handle) {
    let called = || handle.accepted_connections_beside(ports::INBOUND);
    let (mut quiet_since, mut calls) = (Instant::now(), called());
    while quiet_since.elapsed() < SETTLED {
        sleep(POLL).await;
        let lives = application::has_sockets().unwrap_or_else(|error| {
            tracing::debug!(%error, "sockets of the pod cannot be read");
            // What is open here is all that is known.
            handle.active_connections() > 0
        });
        let now = called();
        if lives || now != calls {
            (quiet_since, calls) = (Instant::now(), now);
        }
    }
}
