//! Endpoints that allow few streams, clusters that allow few connections, and requests that wait.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::{
    client::{self, Client, request},
    proxy::{Config, Upstream},
    run, until, upstream,
};

/// An endpoint that answers with the body, on `/wait` once the gate is open. It allows `limit`
/// streams, and notes how many there were at most.
async fn limited(limit: u32, gate: &Rc<Semaphore>) -> (SocketAddr, Rc<Cell<usize>>) {
    let (most, gate) = (Rc::new(Cell::new(0)), Rc::clone(gate));
    let noted = Rc::clone(&most);
    let address = upstream::accept(move |stream| {
        let (gate, most) = (Rc::clone(&gate), Rc::clone(&noted));
        async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(limit);
            let mut http2 = builder
                .handshake::<_, Bytes>(stream)
                .await
                .expect("preface");
            let open = Rc::new(Cell::new(0));
            while let Some(Ok((request, mut respond))) = http2.accept().await {
                let (gate, open) = (Rc::clone(&gate), Rc::clone(&open));
                open.set(open.get() + 1);
                most.set(most.get().max(open.get()));
                tokio::task::spawn_local(async move {
                    let waits = request.uri().path() == "/wait";
                    let read = upstream::read(request.into_body()).await;
                    if waits && read.is_ok() {
                        let _ = gate.acquire().await;
                    }
                    open.set(open.get() - 1);
                    let (Ok((body, _)), response) = (read, http::Response::new(())) else {
                        return;
                    };
                    let end = body.is_empty();
                    if let Ok(mut stream) = respond.send_response(response, end)
                        && !end
                    {
                        client::give(&mut stream, body.into(), true).await;
                    }
                });
            }
        }
    })
    .await;
    (address, most)
}

fn gate() -> Rc<Semaphore> {
    Rc::new(Semaphore::new(0))
}

/// Sends a request on a connection of which there are clones, and gives the status.
async fn ask(client: &Client, method: &str, path: &str, body: &Bytes) -> Result<u16, h2::Error> {
    let mut client = Client(client.0.clone());
    let answer = client
        .send(request(method, path), body.clone(), None)
        .await?;
    assert!(answer.status() != 200 || answer.body == *body);
    Ok(answer.status())
}

#[test]
fn requests_with_bodies_are_answered_at_the_limit() {
    run(async {
        // Limit, connections of clients, requests at a time on each, requests of each in turn.
        for (limit, clients, parallel, rounds) in [(1, 1, 2, 10), (10, 4, 20, 5), (3, 2, 7, 5)] {
            let (address, most) = limited(limit, &gate()).await;
            let proxy = Config::to(Upstream::Http2, address).start();
            let body = Bytes::from(vec![b'x'; 20_000]);
            let body = &body;
            let mut all = Vec::new();
            for _ in 0..clients {
                all.push(Client::connect(proxy.address()).await);
            }
            ask(&all[0], "GET", "/", &Bytes::new()).await.expect("warm");
            let streams = all.iter().flat_map(|client| vec![client; parallel]);
            let streams = streams.map(|client| async move {
                for _ in 0..rounds {
                    let status = ask(client, "POST", "/", body).await;
                    assert_eq!(status.expect("an answer"), 200);
                }
            });
            join_all(streams).await;
            assert!(most.get() <= limit as usize, "{} > {limit}", most.get());
            assert_eq!(proxy.stat("cluster", "upstream_rq_rx_reset"), 0);
        }
    });
}

#[test]
fn a_cold_burst_waits_its_turn() {
    run(async {
        for limit in [1, 3] {
            let (address, most) = limited(limit, &gate()).await;
            let proxy = Config::to(Upstream::Http2, address).start();
            let client = Client::connect(proxy.address()).await;
            let body = Bytes::from_static(b"hello");
            let all = (0..20).map(|_| ask(&client, "POST", "/", &body));
            for status in join_all(all).await {
                assert_eq!(status.expect("an answer"), 200);
            }
            assert!(most.get() <= limit as usize, "{} > {limit}", most.get());
            assert_eq!(proxy.stat("cluster", "upstream_rq_pending_overflow"), 0);
            assert_eq!(proxy.stat("cluster", "upstream_rq_pending_active"), 0);
        }
    });
}

#[test]
fn places_of_requests_that_are_given_up_are_given_away() {
    run(async {
        let (address, _) = limited(2, &gate()).await;
        let breaker = ", circuit_breakers: { thresholds: [ { max_connections: 1 } ] }";
        let routes = "{ match: { prefix: / }, route: { cluster: up } }";
        let proxy = Config::routes(routes)
            .cluster("up", Upstream::Http2, address, breaker)
            .start();
        let client = Client::connect(proxy.address()).await;
        let body = Bytes::from(vec![b'x'; 50_000]);
        let all = (0..100).map(|index| {
            let (client, body) = (&client, &body);
            async move {
                if index % 3 > 0 {
                    return ask(client, "POST", "/", body).await.expect("an answer");
                }
                let mut open = client.0.clone().ready().await.expect("open");
                let sent = open.send_request(request("POST", "/wait"), false);
                let (_response, mut stream) = sent.expect("sent");
                client::give(&mut stream, body.clone(), false).await;
                200
            }
        });
        assert!(join_all(all).await.iter().all(|status| *status == 200));
        // One that is too many the endpoint would refuse.
        assert_eq!(proxy.stat("cluster", "upstream_rq_rx_reset"), 0);
        assert_eq!(proxy.stat("cluster", "upstream_rq_retry"), 0);
    });
}

#[test]
fn requests_wait_where_no_other_connection_is_allowed() {
    run(async {
        let gate = gate();
        let (address, _) = limited(2, &gate).await;
        let breaker = ", circuit_breakers: { thresholds: [ { max_connections: 1, \
                       max_pending_requests: 3 } ] }";
        let routes = "{ match: { prefix: / }, route: { cluster: up } }";
        let proxy = Config::routes(routes)
            .cluster("up", Upstream::Http2, address, breaker)
            .start();
        let client = Rc::new(Client::connect(proxy.address()).await);
        // What an endpoint allows is known once it has answered.
        ask(&client, "GET", "/", &Bytes::new()).await.expect("warm");
        let asked: Vec<_> = (0..5)
            .map(|_| {
                let client = Rc::clone(&client);
                tokio::task::spawn_local(async move {
                    ask(&client, "POST", "/wait", &Bytes::from_static(b"hello")).await
                })
            })
            .collect();
        until(|| proxy.stat("cluster", "upstream_rq_pending_active") == 3).await;
        let refused = ask(&client, "GET", "/", &Bytes::new()).await;
        assert_eq!(refused.expect("an answer"), 503);
        assert_eq!(proxy.stat("cluster", "upstream_rq_pending_overflow"), 1);
        gate.add_permits(100);
        for status in asked {
            assert_eq!(status.await.expect("no panic").expect("an answer"), 200);
        }
        assert_eq!(proxy.stat("cluster", "upstream_cx_total"), 1);
        assert_eq!(proxy.stat("cluster", "upstream_rq_pending_active"), 0);
    });
}

#[test]
fn deadlines_pass_while_a_request_waits() {
    run(async {
        let gate = gate();
        let (address, _) = limited(1, &gate).await;
        let breaker = ", circuit_breakers: { thresholds: [ { max_connections: 1 } ] }";
        let routes = "{ match: { path: /wait }, route: { cluster: up, timeout: 0s } }, \
                      { match: { path: /idle }, route: { cluster: up, timeout: 0s, \
                        idle_timeout: 0.2s } }, \
                      { match: { prefix: / }, route: { cluster: up, timeout: 0.2s } }";
        let proxy = Config::routes(routes)
            .cluster("up", Upstream::Http2, address, breaker)
            .start();
        let client = Rc::new(Client::connect(proxy.address()).await);
        let first = Rc::clone(&client);
        let first =
            tokio::task::spawn_local(
                async move { ask(&first, "GET", "/wait", &Bytes::new()).await },
            );
        until(|| proxy.stat("cluster", "upstream_rq_total") == 1).await;
        assert_eq!(
            ask(&client, "GET", "/late", &Bytes::new())
                .await
                .expect("answered"),
            504
        );
        assert_eq!(
            ask(&client, "GET", "/idle", &Bytes::new())
                .await
                .expect("answered"),
            504
        );
        // A request whose end would only be read once it has its place.
        let mut open = client.0.clone().ready().await.expect("open");
        let (response, _stream) = open
            .send_request(request("POST", "/late"), false)
            .expect("sent");
        assert_eq!(response.await.expect("answered").status(), 504);
        let http1 = "GET /late HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let answer = client::http1(proxy.address(), http1).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert_eq!(proxy.stat("cluster", "upstream_rq_pending_active"), 0);
        gate.add_permits(1);
        assert_eq!(first.await.expect("no panic").expect("answered"), 200);
    });
}

#[test]
fn a_cluster_bounds_the_streams_of_a_connection() {
    run(async {
        let gate = gate();
        let (address, most) = limited(100, &gate).await;
        let routes = "{ match: { prefix: / }, route: { cluster: up } }";
        let options = "http2_protocol_options: { max_concurrent_streams: 2 }";
        let config = Config::routes(routes).cluster_with("up", options, address, "");
        let proxy = config.start();
        let client = Rc::new(Client::connect(proxy.address()).await);
        let asked: Vec<_> = (0..5)
            .map(|_| {
                let client = Rc::clone(&client);
                tokio::task::spawn_local(async move {
                    ask(&client, "GET", "/wait", &Bytes::new()).await
                })
            })
            .collect();
        until(|| proxy.stat("cluster", "upstream_rq_total") == 5).await;
        gate.add_permits(5);
        for status in asked {
            assert_eq!(status.await.expect("no panic").expect("an answer"), 200);
        }
        assert_eq!(
            (most.get(), proxy.stat("cluster", "upstream_cx_total")),
            (2, 3)
        );
    });
}

#[test]
fn idle_connections_to_endpoints_are_closed() {
    run(async {
        for version in ["http_protocol_options", "http2_protocol_options"] {
            let address = upstream::echo().await;
            let options =
                format!("{version}: {{}} }}, common_http_protocol_options: {{ idle_timeout: 0.2s");
            let routes = "{ match: { prefix: / }, route: { cluster: up } }";
            let config = Config::routes(routes).cluster_with("up", &options, address, "");
            let proxy = config.start();
            let mut client = Client::connect(proxy.address()).await;
            assert_eq!(client.get("/").await.expect("an answer").status(), 200);
            let closed = tokio::time::timeout(
                Duration::from_secs(5),
                until(|| proxy.stat("cluster", "upstream_cx_active") == 0),
            );
            closed.await.expect("closed in time");
            assert_eq!(
                proxy.stat("cluster", "upstream_cx_idle_timeout"),
                1,
                "{version:?}"
            );
        }
    });
}
