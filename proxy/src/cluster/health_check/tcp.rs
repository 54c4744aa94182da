//! TCP checks.

use super::{
    io::Io,
    payload::Search,
    probe::{Context, MAX_ANSWER},
    session::{Failure, FailureKind, Verdict},
};
use crate::{cluster::health::CheckTarget, config::health_check::TcpCheck};

/// Asks once, on `kept` or on a new connection, which is then kept if the next check may use it.
pub(super) async fn check(
    check: &TcpCheck,
    context: &Context,
    target: &CheckTarget,
    kept: &mut Option<Io>,
) -> Verdict {
    match converse(check, context, target, kept.take()).await {
        Some(io) => {
            // A connection that has only shown that there is one is closed at once.
            if context.reuses_connection() && !check.receive.is_empty() {
                *kept = Some(io);
            }
            Verdict::Success { is_degraded: false }
        }
        None => Verdict::Failure(Failure::of(FailureKind::Network)),
    }
}

async fn converse(
    check: &TcpCheck,
    context: &Context,
    target: &CheckTarget,
    kept: Option<Io>,
) -> Option<Io> {
    let mut io = match kept {
        Some(io) => io,
        None => {
            let io = Io::connect(context, target).await;
            io.map_err(|error| context.note(target, &error)).ok()?
        }
    };
    if check.receive.is_empty() {
        return Some(io);
    }
    io.write_all(&check.send).await.ok()?;
    let mut search = Search::new(&check.receive);
    let mut total = 0_usize;
    loop {
        let bytes = io.read().await.ok()?;
        total = total.saturating_add(bytes.len());
        if bytes.is_empty() || total > MAX_ANSWER {
            return None;
        }
        if search.feed(&bytes) {
            return Some(io);
        }
    }
}
