use std::{convert::Infallible, net::IpAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::{Guard, Limits};

const SECOND: Duration = Duration::from_secs(1);

/// A client's end, and the connection.
fn connect(guard: &Arc<Guard>, body: usize) -> (DuplexStream, JoinHandle<()>) {
    let slot = Arc::new(guard.admit(IpAddr::from([10, 0, 0, 1])).expect("a slot"));
    let (client, server) = duplex(1024);
    let service = service_fn(move |request: Request<Incoming>| async move {
        if request.uri().path() == "/never" {
            std::future::pending::<()>().await;
        }
        let body = Full::new(Bytes::from(vec![b'x'; body]));
        Ok::<_, Infallible>(Response::new(body))
    });
    let stopping = std::future::pending();
    (client, tokio::spawn(http1(server, slot, service, stopping)))
}

fn guard() -> Arc<Guard> {
    Guard::new(Limits {
        connections: 4,
        per_source: 4,
        reserved: Vec::new(),
        reserve: 0,
        opening: 10 * SECOND,
        idle: 60 * SECOND,
        response: 15 * SECOND,
        exchange: Some(20 * SECOND),
    })
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_is_no_request() {
    let guard = guard();
    let began = Instant::now();
    let (mut client, connection) = connect(&guard, 0);
    let trickle = async {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SECOND).await;
        }
    };
    tokio::join!(trickle, async { connection.await.expect("no panic") });
    assert!(began.elapsed() <= 11 * SECOND, "{:?}", began.elapsed());
    assert_eq!(guard.closed(Closed::Opening), 1);
    assert_eq!(guard.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_reads_keeps_the_connection_for_its_time_only() {
    let guard = guard();
    let began = Instant::now();
    let (mut client, connection) = connect(&guard, 1 << 20);
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(request).await.expect("sent");
    connection.await.expect("no panic");
    // All of it waits in the buffer of the connection, which is idle and may be evicted.
    assert!(began.elapsed() <= 61 * SECOND, "{:?}", began.elapsed());
    assert_eq!(guard.closed(Closed::Idle), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_does_not_begin_ends_the_connection() {
    let guard = guard();
    let began = Instant::now();
    let (mut client, connection) = connect(&guard, 0);
    let request = b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(request).await.expect("sent");
    connection.await.expect("no panic");
    assert_eq!(began.elapsed(), 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_of_use_is_kept_between_requests() {
    let guard = guard();
    let (mut client, connection) = connect(&guard, 1);
    let began = Instant::now();
    for _ in 0..3 {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.expect("sent");
        let mut answer = vec![0; 1024];
        let read = client.read(&mut answer).await.expect("answered");
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
        tokio::time::sleep(30 * SECOND).await;
    }
    connection.await.expect("no panic");
    assert_eq!(began.elapsed(), 120 * SECOND);
    assert_eq!(guard.closed(Closed::Idle), 1);
}
