//! The part of readiness that lies outside of the data plane: that connections get to it.

use std::time::Duration;

use tokio::sync::watch;
use weir_api::CaptureSpec;
use weir_iptables::{
    Family,
    verify::{self, Proof},
};

/// Between attempts. The rules are normally there before this process is.
const PAUSE: Duration = Duration::from_secs(1);

/// Tries until the redirect of every family works, then says so. Needs no privilege.
pub(super) async fn prove(spec: CaptureSpec, families: Vec<Family>, ready: watch::Sender<bool>) {
    let mut reported = String::new();
    loop {
        let spec = spec.clone();
        let families = families.clone();
        let attempt = tokio::task::spawn_blocking(move || {
            families.iter().try_for_each(|family| {
                verify::prove_inbound(&spec, *family).map(|proof: Proof| {
                    tracing::debug!(?family, ?proof, "inbound redirect");
                })
            })
        });
        match attempt.await {
            Ok(Ok(())) => {
                tracing::info!("the redirect works; ready");
                ready.send_replace(true);
                return;
            }
            Ok(Err(error)) => {
                let reason = format!("{:#}", anyhow::Error::from(error));
                // The same reason each second helps nobody.
                if reason != reported {
                    tracing::warn!(reason, "not ready: the redirect does not work");
                    reported = reason;
                }
            }
            Err(error) => tracing::error!(%error, "the proof of the redirect panicked"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
