//! HTTP/1 through the data plane, on loopback: large bodies and slow readers, pipelining, clients
//! and endpoints that leave, interim responses, trailers, upgrades, draining.

use std::{future::Future, net::SocketAddr, time::Duration};

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weir_tests::skip::{Need, skip};

use crate::{
    proxy::{Config, Upstream},
    scripted::{Endpoint, read_head},
};

#[expect(dead_code, reason = "shared with the tests of HTTP/2")]
#[path = "http2/proxy.rs"]
mod proxy;
#[path = "http1/scripted.rs"]
mod scripted;

/// Far beyond what anything here takes: a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for a response to be read and its end to be seen.
const SLOW: Duration = Duration::from_millis(300);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let patient = async { tokio::time::timeout(PATIENCE, test).await };
    local.block_on(&runtime, patient).expect("no hang")
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address)
        .await
        .expect("the proxy listens")
}

/// Bytes whose order matters.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7 % 251) as u8).collect()
}

/// A chunked body of pieces of growing size. `extension` stands behind each size.
fn chunked(mut data: &[u8], extension: &str) -> Vec<u8> {
    let (mut out, mut size) = (Vec::new(), 1);
    while !data.is_empty() {
        let (piece, rest) = data.split_at(size.min(data.len()));
        out.extend_from_slice(format!("{:X}{extension}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
        (data, size) = (rest, (size * 3).min(100_000));
    }
    out.extend_from_slice(b"0\r\nX-Trailer: kept\r\n\r\n");
    out
}

#[test]
fn large_bodies_pass_both_ways_byte_for_byte() {
    run(async {
        let data = payload(10 << 20);
        let with_length = format!("Content-Length: {}\r\n\r\n", data.len());
        let whole = [with_length.as_bytes(), &data].concat();
        let head = &b"Transfer-Encoding: chunked\r\n\r\n"[..];
        let with_chunks = |extension| [head, &chunked(&data, extension)].concat();
        for (body, expected) in [
            (whole.clone(), whole),
            (with_chunks(""), with_chunks("")),
            // Extensions are of one hop.
            (with_chunks(" ;n=\"1\""), with_chunks("")),
        ] {
            let mut endpoint = Endpoint::start().await;
            let proxy = Config::to(Upstream::Http1, endpoint.address).start();
            let (mut read, mut write) = connect(proxy.address()).await.into_split();
            let sent = [&b"POST / HTTP/1.1\r\nHost: h\r\n"[..], &body].concat();
            tokio::task::spawn_local(async move {
                write.write_all(&sent).await.expect("sent");
                // A client that closes its side is taken to be gone.
                std::future::pending::<()>().await;
            });
            let mut upstream = endpoint.accept().await;
            read_head(&mut upstream).await;
            let length = body_of(&expected).len();
            let mut got = vec![0; length];
            upstream.read_exact(&mut got).await.expect("the body");
            assert!(expected.ends_with(&got), "the request's body is changed");
            let answer = [&b"HTTP/1.1 200 OK\r\n"[..], &body].concat();
            tokio::task::spawn_local(async move {
                upstream.write_all(&answer).await.expect("answered");
                std::future::pending::<()>().await;
            });
            read_head(&mut read).await;
            let mut back = vec![0; length];
            read.read_exact(&mut back).await.expect("the body");
            assert!(back == got, "the response's body is changed");
        }
    });
}

#[test]
fn a_large_response_leaves_its_connection_for_the_next_request() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut client = connect(proxy.address()).await;
        let data = payload(1 << 20);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len());
        let answer = [head.as_bytes(), &data].concat();
        tokio::task::spawn_local(async move {
            // Accepts once: another connection would never be answered.
            let mut upstream = endpoint.accept().await;
            loop {
                read_head(&mut upstream).await;
                upstream.write_all(&answer).await.expect("answered");
            }
        });
        for _ in 0..3 {
            client.write_all(GET).await.expect("sent");
            read_head(&mut client).await;
            let mut back = vec![0; data.len()];
            client.read_exact(&mut back).await.expect("the body");
            assert!(back == data, "the body is changed");
        }
        assert_eq!(proxy.stat("cluster", "upstream_cx_total"), 1);
    });
}

#[test]
fn who_does_not_read_stops_the_sender() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut client = connect(proxy.address()).await;
        client.write_all(GET).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        read_head(&mut upstream).await;
        let length: usize = 256 << 20;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        upstream.write_all(head.as_bytes()).await.expect("head");
        // Whatever the kernel and the proxy hold together is far less than the body.
        let (piece, mut sent) = (vec![b'x'; 1 << 16], 0);
        let stuck = Duration::from_millis(500);
        while let Ok(written) = tokio::time::timeout(stuck, upstream.write(&piece)).await {
            sent += written.expect("the proxy is there");
            assert!(sent < length / 2, "nobody reads, and {sent} bytes are gone");
        }
        read_head(&mut client).await;
        let mut taken = vec![0; sent];
        client.read_exact(&mut taken).await.expect("all of it");
        assert!(taken.iter().all(|byte| *byte == b'x'));
    });
}

#[test]
fn a_hundred_requests_at_once_are_answered_in_order() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut client = connect(proxy.address()).await;
        let all: String = (0..100)
            .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .collect();
        client.write_all(all.as_bytes()).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        for n in 0..100 {
            let head = read_head(&mut upstream).await;
            assert!(head.starts_with(&format!("GET /{n} ")), "{head}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-N: {n}\r\n\r\n");
            upstream
                .write_all(answer.as_bytes())
                .await
                .expect("answered");
            let head = read_head(&mut client).await;
            assert!(head.contains(&format!("X-N: {n}\r\n")), "{head}");
        }
        assert_eq!(proxy.stat("cluster", "upstream_cx_total"), 1);
    });
}

#[test]
fn a_head_may_come_in_any_two_pieces() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut client = connect(proxy.address()).await;
        client.set_nodelay(true).expect("nodelay");
        let request = b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        let mut upstream: Option<TcpStream> = None;
        for at in 1..request.len() {
            client.write_all(&request[..at]).await.expect("sent");
            tokio::task::yield_now().await;
            client.write_all(&request[at..]).await.expect("sent");
            if upstream.is_none() {
                upstream = Some(endpoint.accept().await);
            }
            let upstream = upstream.as_mut().expect("a connection");
            let head = read_head(upstream).await;
            assert!(
                head.starts_with("POST /a?b HTTP/1.1\r\nHost: h\r\n"),
                "{at}: {head}"
            );
            let mut body = [0; 3];
            upstream.read_exact(&mut body).await.expect("the body");
            assert_eq!(&body, b"abc", "{at}");
            upstream.write_all(OK).await.expect("answered");
            let head = read_head(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{at}: {head}");
            client.read_exact(&mut body[..2]).await.expect("the body");
        }
    });
}

#[test]
fn a_client_that_leaves_releases_the_endpoint() {
    run(async {
        // Before the response, and in the middle of it.
        for answered in [false, true] {
            let mut endpoint = Endpoint::start().await;
            let proxy = Config::to(Upstream::Http1, endpoint.address).start();
            let mut client = connect(proxy.address()).await;
            client.write_all(GET).await.expect("sent");
            let mut upstream = endpoint.accept().await;
            read_head(&mut upstream).await;
            if answered {
                let part = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart";
                upstream.write_all(part).await.expect("answered");
                read_head(&mut client).await;
            }
            drop(client);
            let end = upstream.read(&mut [0; 1]).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{answered}: {end:?}");
        }
    });
}

#[test]
fn an_endpoint_may_close_its_idle_connection_at_any_time() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut client = connect(proxy.address()).await;
        for _ in 0..20 {
            client.write_all(GET).await.expect("sent");
            let mut upstream = endpoint.accept().await;
            read_head(&mut upstream).await;
            upstream.write_all(OK).await.expect("answered");
            // Closed without a word: the next request may find it open or not.
            drop(upstream);
            let head = read_head(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            client.read_exact(&mut [0; 2]).await.expect("the body");
        }
        assert_eq!(proxy.stat("http", "downstream_rq_5xx"), 0);
    });
}

#[test]
fn interim_responses_and_trailers_are_passed_on() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut client = connect(proxy.address()).await;
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.write_all(head).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        assert!(
            read_head(&mut upstream)
                .await
                .contains("Expect: 100-continue")
        );
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        upstream.write_all(go_on).await.expect("go on");
        let seen = read_head(&mut client).await;
        assert_eq!(seen.as_bytes(), go_on);
        let body = b"2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n";
        client.write_all(body).await.expect("sent");
        let mut got = [0; 23];
        upstream
            .read_exact(&mut got[..body.len()])
            .await
            .expect("the body");
        assert_eq!(&got[..body.len()], body);
    });
}

#[test]
fn an_upgrade_opens_a_tunnel_both_ways() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let mut config = Config::to(Upstream::Http1, endpoint.address);
        config.manager = ", upgrade_configs: [ { upgrade_type: websocket } ]";
        let proxy = config.start();
        let mut client = connect(proxy.address()).await;
        let head =
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        client.write_all(head).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        read_head(&mut upstream).await;
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi";
        upstream.write_all(switch).await.expect("answered");
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101"));
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes[..2]).await.expect("hi");
        assert_eq!(&bytes[..2], b"hi");
        client.write_all(b"hello").await.expect("sent");
        upstream.read_exact(&mut bytes).await.expect("hello");
        assert_eq!(&bytes, b"hello");
        client.shutdown().await.expect("half closed");
        assert_eq!(upstream.read(&mut bytes).await.expect("the end"), 0);
        upstream.write_all(b"later").await.expect("sent");
        client.read_exact(&mut bytes).await.expect("later");
        assert_eq!(&bytes, b"later");
    });
}

/// Everything to one endpoint, tunnels too.
fn with_tunnels(address: SocketAddr) -> Config {
    let routes = "{ match: { connect_matcher: {} }, route: { cluster: up } },
        { match: { prefix: / }, route: { cluster: up } }";
    let mut config = Config::routes(routes).cluster("up", Upstream::Http1, address, "");
    config.manager = ", upgrade_configs: [ { upgrade_type: CONNECT } ], \
        http_protocol_options: { accept_http_10: true }";
    config
}

#[test]
fn connect_opens_a_tunnel_both_ways() {
    run(async {
        for version in ["1.1", "1.0"] {
            let mut endpoint = Endpoint::start().await;
            let proxy = with_tunnels(endpoint.address).start();
            let mut client = connect(proxy.address()).await;
            // What is meant for the tunnel may come with the request.
            let head = format!(
                "CONNECT db.example:443 HTTP/{version}\r\nHost: other\r\nX-A: 1\r\n\r\nGET /early"
            );
            client.write_all(head.as_bytes()).await.expect("sent");
            let mut upstream = endpoint.accept().await;
            let seen = read_head(&mut upstream).await;
            let line = format!("CONNECT db.example:443 HTTP/{version}\r\n");
            assert!(seen.starts_with(&line), "{seen}");
            assert!(seen.contains("host: db.example:443\r\n"), "{seen}");
            assert!(!seen.contains("other"), "{seen}");
            let answer = b"HTTP/1.1 200 Connected\r\nContent-Length: 5\r\n\r\nhi";
            upstream.write_all(answer).await.expect("answered");
            let head = read_head(&mut client).await;
            let line = format!("HTTP/{version} 200 Connected\r\n");
            assert!(head.starts_with(&line), "{head}");
            for field in ["connection", "content-length", "transfer-encoding"] {
                assert!(!head.to_ascii_lowercase().contains(field), "{head}");
            }
            let mut bytes = [0; 10];
            client.read_exact(&mut bytes[..2]).await.expect("hi");
            assert_eq!(&bytes[..2], b"hi");
            upstream.read_exact(&mut bytes).await.expect("early");
            assert_eq!(&bytes, b"GET /early");
            client.shutdown().await.expect("half closed");
            assert_eq!(upstream.read(&mut bytes).await.expect("the end"), 0);
            upstream.write_all(b"later").await.expect("sent");
            client.read_exact(&mut bytes[..5]).await.expect("later");
            assert_eq!(&bytes[..5], b"later");
        }
    });
}

/// A forward proxy that knows nothing but CONNECT.
async fn forward(mut client: TcpStream) {
    let head = read_head(&mut client).await;
    let target = head.split(' ').nth(1).expect("a target");
    let mut origin = TcpStream::connect(target).await.expect("the origin");
    let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
    client.write_all(answer).await.expect("answered");
    let _ = tokio::io::copy_bidirectional(&mut client, &mut origin).await;
}

#[test]
fn curl_reaches_an_origin_by_a_forward_proxy_behind_ours() {
    if std::process::Command::new("curl")
        .arg("--version")
        .output()
        .is_err()
    {
        skip(Need::Peers, "no curl on PATH");
        return;
    }
    run(async {
        let (mut origin, mut endpoint) = (Endpoint::start().await, Endpoint::start().await);
        let proxy = with_tunnels(endpoint.address).start();
        let (ours, url) = (proxy.address(), format!("http://{}/a", origin.address));
        tokio::task::spawn_local(async move { forward(endpoint.accept().await).await });
        tokio::task::spawn_local(async move {
            let mut stream = origin.accept().await;
            assert!(
                read_head(&mut stream)
                    .await
                    .starts_with("GET /a HTTP/1.1\r\n")
            );
            stream.write_all(OK).await.expect("answered");
        });
        let curl = tokio::task::spawn_blocking(move || {
            let through = format!("http://{ours}");
            let options = ["-sS", "--max-time", "10", "--noproxy", "", "-p", "-x"];
            let mut curl = std::process::Command::new("curl");
            curl.args(options).args([through, url]).output()
        });
        let output = curl.await.expect("no panic").expect("curl runs");
        assert_eq!(
            output.stdout,
            b"ok",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
}

#[test]
fn a_tunnel_that_is_refused_closes_its_connection() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = with_tunnels(endpoint.address).start();
        let mut client = connect(proxy.address()).await;
        let request = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
        client.write_all(request).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        read_head(&mut upstream).await;
        let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno";
        upstream.write_all(answer).await.expect("answered");
        let head = read_head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 407"), "{head}");
        assert!(head.contains("connection: close\r\n"), "{head}");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("the end");
        assert_eq!(rest, b"no");
        assert_eq!(proxy.stat("http", "downstream_rq_total"), 1);
    });
}

#[test]
fn tunnels_are_refused_where_nothing_allows_them() {
    run(async {
        let mut with_route_only = with_tunnels(([127, 0, 0, 1], 9).into());
        with_route_only.manager = "";
        let to_http2 = "{ match: { connect_matcher: {} }, route: { cluster: up } }";
        let address = Endpoint::start().await.address;
        let mut to_http2 = Config::routes(to_http2).cluster("up", Upstream::Http2, address, "");
        to_http2.manager = ", upgrade_configs: [ { upgrade_type: CONNECT } ]";
        for config in [with_route_only, to_http2] {
            let proxy = config.start();
            let mut client = connect(proxy.address()).await;
            let request = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n";
            client.write_all(request).await.expect("sent");
            let head = read_head(&mut client).await;
            assert!(head.starts_with("HTTP/1.1 403"), "{head}");
            assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
            assert_eq!(proxy.stat("cluster", "upstream_rq_total"), 0);
        }
    });
}

#[test]
fn all_that_came_of_a_response_is_delivered_before_its_end() {
    run(async {
        let (whole, sent) = (2 << 20, payload(1 << 20));
        let with_length = format!("Content-Length: {whole}\r\n\r\n");
        let plain = [with_length.as_bytes(), &sent].concat();
        let mut chunks = chunked(&sent, "");
        chunks.truncate(chunks.len() - b"0\r\nX-Trailer: kept\r\n\r\n".len());
        let head = &b"Transfer-Encoding: chunked\r\n\r\n"[..];
        let malformed = [head, &chunks, b"1 1\r\n"].concat();
        let chunks = [head, &chunks].concat();
        for (body, expected) in [(&plain, &plain), (&chunks, &chunks), (&malformed, &chunks)] {
            let mut endpoint = Endpoint::start().await;
            let proxy = Config::to(Upstream::Http1, endpoint.address).start();
            let mut client = connect(proxy.address()).await;
            client.write_all(GET).await.expect("sent");
            let mut upstream = endpoint.accept().await;
            read_head(&mut upstream).await;
            let answer = [&b"HTTP/1.1 200 OK\r\n"[..], body].concat();
            tokio::task::spawn_local(async move {
                upstream.write_all(&answer).await.expect("taken");
            });
            // A client that is slow to read, so that the end comes to the proxy long before.
            tokio::time::sleep(SLOW).await;
            read_head(&mut client).await;
            let mut got = Vec::new();
            let end = client.read_to_end(&mut got).await;
            let expected = body_of(expected);
            // A size that turns out to be none may have begun.
            let sound = got.starts_with(expected) && got.len() <= expected.len() + 1;
            assert!(sound, "{} of {} bytes, {end:?}", got.len(), expected.len());
        }
    });
}

#[test]
fn idle_old_and_worn_connections_are_closed() {
    run(async {
        let direct = "{ match: { prefix: / }, direct_response: { status: 204 } }";
        let manager = |options: &'static str| {
            let mut config = Config::routes(direct);
            config.manager = options;
            config.start()
        };
        let ends = async |address, requests: usize| {
            let mut client = connect(address).await;
            let mut heads = Vec::new();
            for _ in 0..requests {
                client.write_all(GET).await.expect("sent");
                heads.push(read_head(&mut client).await);
            }
            assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
            heads
        };
        let idle = manager(", common_http_protocol_options: { idle_timeout: 0.2s }");
        ends(idle.address(), 1).await;
        assert_eq!(idle.stat("http", "downstream_cx_idle_timeout"), 1);
        let old = manager(", common_http_protocol_options: { max_connection_duration: 0.2s }");
        ends(old.address(), 1).await;
        assert_eq!(old.stat("http", "downstream_cx_max_duration_reached"), 1);
        let worn = manager(", common_http_protocol_options: { max_requests_per_connection: 2 }");
        let heads = ends(worn.address(), 2).await;
        let said: Vec<_> = heads
            .iter()
            .map(|head| head.contains("connection: close"))
            .collect();
        assert_eq!(said, [false, true]);
    });
}

#[test]
fn a_large_upload_is_not_kept_for_a_retry() {
    run(async {
        let policy = "retry_policy: { retry_on: 5xx, num_retries: 2 }";
        let route = format!("{{ match: {{ prefix: / }}, route: {{ cluster: up, {policy} }} }}");
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::routes(&route)
            .cluster("up", Upstream::Http1, endpoint.address, "")
            .start();
        for (size, attempts) in [(1000, 3), (100_000, 1)] {
            let mut client = connect(proxy.address()).await;
            let body = payload(size);
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n");
            client.write_all(head.as_bytes()).await.expect("sent");
            client.write_all(&body).await.expect("sent");
            for _ in 0..attempts {
                let mut upstream = endpoint.accept().await;
                read_head(&mut upstream).await;
                let mut got = vec![0; size];
                upstream.read_exact(&mut got).await.expect("the body");
                assert!(got == body, "{size}");
                let answer = b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                upstream.write_all(answer).await.expect("answered");
            }
            assert!(read_head(&mut client).await.starts_with("HTTP/1.1 503"));
        }
        assert_eq!(proxy.stat("cluster", "upstream_rq_retry"), 2);
        assert_eq!(proxy.stat("cluster", "upstream_rq_retry_limit_exceeded"), 1);
    });
}

#[test]
fn the_circuit_breaker_bounds_retries() {
    run(async {
        let policy = "retry_policy: { retry_on: 5xx, num_retries: 2 }";
        let route = format!("{{ match: {{ prefix: / }}, route: {{ cluster: up, {policy} }} }}");
        let mut endpoint = Endpoint::start().await;
        let breaker = ", circuit_breakers: { thresholds: [ { max_retries: 0 } ] }";
        let proxy = Config::routes(&route)
            .cluster("up", Upstream::Http1, endpoint.address, breaker)
            .start();
        let mut client = connect(proxy.address()).await;
        client.write_all(GET).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        read_head(&mut upstream).await;
        let answer = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
        upstream.write_all(answer).await.expect("answered");
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 503"));
        assert_eq!(proxy.stat("cluster", "upstream_rq_retry_overflow"), 1);
        assert_eq!(proxy.stat("cluster", "upstream_rq_retry"), 0);
    });
}

#[test]
fn a_draining_listener_says_goodbye() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut busy = connect(proxy.address()).await;
        busy.write_all(GET).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        read_head(&mut upstream).await;
        let mut idle = connect(proxy.address()).await;
        idle.write_all(b"GET /idle HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .expect("sent");
        let mut second = endpoint.accept().await;
        read_head(&mut second).await;
        second.write_all(OK).await.expect("answered");
        read_head(&mut idle).await;
        idle.read_exact(&mut [0; 2]).await.expect("the body");
        proxy.handle.drain(false);
        // A request that was on its way is answered, and so is one that waits.
        idle.write_all(GET).await.expect("sent");
        read_head(&mut second).await;
        second.write_all(OK).await.expect("answered");
        let head = read_head(&mut idle).await;
        assert!(head.contains("connection: close\r\n"), "{head}");
        upstream.write_all(OK).await.expect("answered");
        let head = read_head(&mut busy).await;
        assert!(head.contains("connection: close\r\n"), "{head}");
        let mut rest = Vec::new();
        busy.read_to_end(&mut rest).await.expect("the end");
        assert_eq!(rest, b"ok");
    });
}

#[test]
fn an_idle_connection_of_a_draining_listener_is_let_go_after_a_while() {
    run(async {
        let mut endpoint = Endpoint::start().await;
        let proxy = Config::to(Upstream::Http1, endpoint.address).start();
        let mut idle = connect(proxy.address()).await;
        idle.write_all(GET).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        read_head(&mut upstream).await;
        upstream.write_all(OK).await.expect("answered");
        read_head(&mut idle).await;
        idle.read_exact(&mut [0; 2]).await.expect("the body");
        proxy.handle.drain(false);
        let mut byte = [0; 1];
        let end = tokio::time::timeout(Duration::from_secs(10), idle.read(&mut byte)).await;
        assert_eq!(end.expect("within seconds").expect("the end"), 0);
        assert_eq!(proxy.stat("http", "downstream_cx_drain_close"), 1);
    });
}

/// A message's body in bytes, framed in one of the two ways.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6);
    (chunks, any::<bool>()).prop_map(|(chunks, chunked)| {
        if !chunked {
            let data = chunks.concat();
            let head = format!("Content-Length: {}\r\n\r\n", data.len());
            return [head.as_bytes(), &data].concat();
        }
        let mut out = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in chunks {
            out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(&chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\nX-End: 1\r\n\r\n");
        out
    })
}

/// Writes `bytes` in pieces that end at `cuts`.
async fn write_cut(stream: &mut TcpStream, bytes: &[u8], cuts: &[usize]) {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    for to in cuts.into_iter().chain([bytes.len()]) {
        stream.write_all(&bytes[from..to]).await.expect("sent");
        tokio::task::yield_now().await;
        from = to;
    }
}

/// The body that `bytes`, which follow a start line, end with.
fn body_of(bytes: &[u8]) -> &[u8] {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    &bytes[head.expect("a head") + 4..]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_byte_of_a_body_changes(
        exchanges in prop::collection::vec((bodies(), bodies(), any::<[usize; 4]>()), 1..5),
    ) {
        run(async {
            let mut endpoint = Endpoint::start().await;
            let proxy = Config::to(Upstream::Http1, endpoint.address).start();
            let mut client = connect(proxy.address()).await;
            client.set_nodelay(true).expect("nodelay");
            let mut upstream: Option<TcpStream> = None;
            for (request, response, cuts) in exchanges {
                let sent = [&b"POST / HTTP/1.1\r\nHost: h\r\n"[..], &request].concat();
                write_cut(&mut client, &sent, &cuts).await;
                if upstream.is_none() {
                    upstream = Some(endpoint.accept().await);
                }
                let upstream = upstream.as_mut().expect("a connection");
                read_head(upstream).await;
                let mut got = vec![0; body_of(&request).len()];
                upstream.read_exact(&mut got).await.expect("the body");
                assert_eq!(got, body_of(&request));
                let answer = [&b"HTTP/1.1 200 OK\r\n"[..], &response].concat();
                write_cut(upstream, &answer, &cuts).await;
                read_head(&mut client).await;
                let mut got = vec![0; body_of(&response).len()];
                client.read_exact(&mut got).await.expect("the body");
                assert_eq!(got, body_of(&response));
            }
        });
    }
}

#[test]
fn the_log_of_a_reply_names_no_endpoint_of_the_request_before() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let mut endpoint = Endpoint::start().await;
        let routes = "{ match: { path: /direct }, direct_response: { status: 200 } },
            { match: { prefix: / }, route: { cluster: up } }";
        let mut config =
            Config::routes(routes).cluster("up", Upstream::Http1, endpoint.address, "");
        let manager = format!(
            ", access_log: [ {{ name: log, typed_config: {{
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog,
              path: {}, log_format: {{ text_format_source: {{ inline_string:
                \"%RESPONSE_CODE% %UPSTREAM_CLUSTER% %UPSTREAM_HOST%\\n\" }} }} }} }} ]",
            log.display()
        );
        config.manager = Box::leak(manager.into_boxed_str());
        let proxy = config.start();
        let mut client = connect(proxy.address()).await;
        client.write_all(GET).await.expect("sent");
        let mut upstream = endpoint.accept().await;
        read_head(&mut upstream).await;
        upstream.write_all(OK).await.expect("answered");
        read_head(&mut client).await;
        client.read_exact(&mut [0; 2]).await.expect("ok");
        let direct = b"GET /direct HTTP/1.1\r\nHost: h\r\n\r\n";
        client.write_all(direct).await.expect("sent");
        read_head(&mut client).await;
        let lines = loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if text.lines().count() == 2 {
                break text;
            }
            tokio::task::yield_now().await;
        };
        let expected = format!("200 up {}\n200 - -\n", endpoint.address);
        assert_eq!(lines, expected);
    });
}
