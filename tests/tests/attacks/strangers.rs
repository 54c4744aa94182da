//! Strangers: many connections at a time, each made anew when it is closed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use weir_tests::netns::NetNs;

use crate::{
    PATIENCE,
    admission::{Tls, ask},
};

/// Before a stranger that got nowhere tries again.
const AGAIN: Duration = Duration::from_millis(100);

/// What they do once they are connected.
#[derive(Clone)]
pub(crate) enum Attack {
    /// Nothing.
    Silence,
    /// HTTP/2 over TLS without a request; PINGs are answered.
    SilentHttp2(Tls),
    /// A request for a review over TLS with this body, and with its end or without.
    Review(Tls, Bytes, BodyEnd),
}

/// Whether a body that was begun is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    Sent,
    Missing,
}

/// How it went so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections that were made.
    pub(crate) made: AtomicU64,
}

/// Runs `meanwhile` while `count` connections from these addresses at a time do that.
pub(crate) fn attack<T>(
    from: &NetNs,
    addresses: &[Ipv4Addr],
    target: SocketAddr,
    count: usize,
    attack: &Attack,
    meanwhile: impl FnOnce() -> T,
) -> T {
    let tally = Arc::new(Tally::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    thread::scope(|scope| {
        let running = Arc::clone(&tally);
        scope.spawn(|| {
            from.run(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime.expect("a runtime").block_on(async {
                    let mut all = JoinSet::new();
                    for address in addresses.iter().cycle().take(count) {
                        all.spawn(forever(*address, target, attack.clone(), running.clone()));
                    }
                    let _ = stopped.await;
                });
            });
        });
        let began = Instant::now();
        while tally.made.load(Ordering::Relaxed) < count as u64 {
            assert!(began.elapsed() < PATIENCE, "the attack does not begin");
            thread::sleep(Duration::from_millis(5));
        }
        let result = meanwhile();
        drop(stop);
        result
    })
}

async fn forever(source: Ipv4Addr, target: SocketAddr, attack: Attack, tally: Arc<Tally>) {
    loop {
        // Those that wait for their turn are no attack, and one that was closed is made anew.
        let once = once(source, target, &attack, &tally);
        if timeout(PATIENCE, once)
            .await
            .is_ok_and(|done| done.is_err())
        {
            sleep(AGAIN).await;
        }
    }
}

async fn once(
    source: Ipv4Addr,
    target: SocketAddr,
    attack: &Attack,
    tally: &Tally,
) -> anyhow::Result<()> {
    let mut stream = connect(source, target).await?;
    tally.made.fetch_add(1, Ordering::Relaxed);
    match attack {
        Attack::Silence => {
            stream.read_u8().await?;
        }
        Attack::SilentHttp2(tls) => {
            let stream = tls.connect(stream).await?;
            let (_requests, connection) = h2::client::handshake(stream).await?;
            connection.await?;
        }
        Attack::Review(tls, body, end) => {
            ask(tls, stream, body.clone(), *end).await?;
        }
    }
    Ok(())
}

/// A connection from that address.
pub(crate) async fn connect(source: Ipv4Addr, target: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    Ok(socket.connect(target).await?)
}
