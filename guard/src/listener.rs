//! Accepting.

use std::{borrow::Borrow, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Guard, Slot};

/// Pause after a failed accept, which is most likely a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and has those that get a slot handled, until `stop` completes; those that are
/// left then have `drain` to end. Dropping it ends them all.
pub async fn serve<F>(
    listener: impl Borrow<TcpListener>,
    guard: &Arc<Guard>,
    stop: impl Future<Output = ()>,
    drain: Duration,
    handle: impl Fn(TcpStream, SocketAddr, Arc<Slot>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.borrow().accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => match guard.admit(peer.ip()) {
                Ok(slot) => drop(connections.spawn(handle(stream, peer, Arc::new(slot)))),
                // Closed at once: whoever waits for an answer learns that there is none.
                Err(why) => tracing::debug!(%peer, why = why.word(), "refused a connection"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(drain, ended).await.is_err() {
        tracing::warn!("connections were still in use when the time to end them was over");
    }
}
