//! The end of the sidecar's life. SIGTERM is not "stop": inbound listeners announce the close but
//! still accept, and what the pod itself calls works until the end.

use std::time::{Duration, Instant};

use weir_proxy::server::Handle;

use crate::shutdown::Signals;

/// How often the open connections are counted.
const POLL: Duration = Duration::from_millis(100);

/// Bounds of draining.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Serve at least so long.
    pub(super) minimum: Duration,
    /// End then, whatever is open.
    pub(super) timeout: Duration,
}

/// Waits for a signal, drains, and is ready when nothing is open any more, time is up, or a second
/// signal came.
pub(super) async fn until_done(mut signals: Signals, handle: Handle, limits: Limits) {
    signals.next().await;
    handle.drain(true);
    let started = Instant::now();
    tokio::select! {
        () = signals.next() => tracing::info!("second signal: ending at once"),
        () = tokio::time::sleep(limits.timeout) => {
            let open = handle.active_connections();
            tracing::warn!(open, "drain timeout: connections are cut");
        }
        () = quiet(&handle, limits.minimum) => {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(seconds, "drained");
        }
    }
}

/// Ready when `minimum` has passed and nothing is open.
async fn quiet(handle: &Handle, minimum: Duration) {
    tokio::time::sleep(minimum).await;
    while handle.active_connections() > 0 {
        tokio::time::sleep(POLL).await;
    }
}
