//! Connecting to an endpoint that has several addresses: the next is tried while one says nothing.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/connection_pooling#happy-eyeballs-support>

use std::{future::Future, io, net::SocketAddr, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

/// Envoy's, RFC 8305's "Connection Attempt Delay".
const DELAY: Duration = Duration::from_millis(300);
/// Addresses that are tried at most: what is further back is not reached within a connect timeout.
const MOST: usize = 16;

/// The first of the addresses to be connected by `dial`. The next one is tried when one fails, or
/// has said nothing for a while.
pub(super) async fn connect<F>(
    addresses: &[SocketAddr],
    dial: impl Fn(SocketAddr) -> F,
) -> io::Result<TcpStream>
where
    F: Future<Output = io::Result<TcpStream>>,
{
    let order = alternating(addresses);
    let mut waiting = order.into_iter().take(MOST);
    let mut dials = FuturesUnordered::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut next_at = Instant::now();
    loop {
        if dials.is_empty() || Instant::now() >= next_at {
            match waiting.next() {
                Some(address) => {
                    dials.push(dial(address));
                    next_at = Instant::now() + DELAY;
                }
                None if dials.is_empty() => return Err(failure),
                None => {}
            }
        }
        let is_last = waiting.len() == 0;
        tokio::select! {
            Some(dialled) = dials.next() => match dialled {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    failure = error;
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if !is_last => {}
        }
    }
}

/// Families in turn, beginning with that of the first; each in its order (RFC 8305, 4).
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let of = |is_first: bool| {
        let all = addresses.iter().copied();
        all.filter(move |address| (address.is_ipv4() == first_is_v4) == is_first)
    };
    let (mut one, mut other) = (of(true), of(false));
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(one.next());
        order.extend(other.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, net::Ipv4Addr};

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn families_take_turns_from_the_first_on() {
        let order = alternating(&["[::1]:1", "[::2]:1", "10.0.0.1:1", "[::3]:1"].map(at));
        assert_eq!(
            order,
            ["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"].map(at)
        );
        assert!(alternating(&[]).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_is_tried_when_one_fails_or_is_silent() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let works = listener
            .as_ref()
            .expect("a port")
            .local_addr()
            .expect("bound");
        let (silent, refuses) = (at("10.0.0.1:1"), at("10.0.0.2:1"));
        let (tried, since) = (RefCell::new(Vec::new()), Instant::now());
        let dial = |address: SocketAddr| {
            tried.borrow_mut().push((address, since.elapsed()));
            async move {
                match address {
                    _ if address == silent => std::future::pending().await,
                    _ if address == refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                    // Not on the paused clock.
                    _ => std::net::TcpStream::connect(address).and_then(|stream| {
                        stream.set_nonblocking(true)?;
                        TcpStream::from_std(stream)
                    }),
                }
            }
        };
        let connected = connect(&[silent, refuses, works], dial).await;
        assert_eq!(connected.expect("connected").peer_addr().ok(), Some(works));
        let expected = [(silent, Duration::ZERO), (refuses, DELAY), (works, DELAY)];
        let tried = tried.into_inner();
        assert_eq!(tried.len(), 3);
        for ((address, at), (expected, after)) in tried.into_iter().zip(expected) {
            assert_eq!(address, expected);
            // The clock of tests moves in milliseconds.
            assert!(
                at >= after && at < after + Duration::from_millis(5),
                "{at:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_is_the_failure() {
        let dial = |_| async { Err(io::ErrorKind::ConnectionRefused.into()) };
        let failed = connect(&["10.0.0.1:1", "10.0.0.2:1"].map(at), dial).await;
        assert_eq!(
            failed.map(drop).map_err(|it| it.kind()),
            Err(io::ErrorKind::ConnectionRefused)
        );
        let none = connect(&[], dial).await.map(drop).map_err(|it| it.kind());
        assert_eq!(none, Err(io::ErrorKind::AddrNotAvailable));
    }
}
