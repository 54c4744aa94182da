//! HTTP/2 with prior knowledge through the data plane, on loopback: streams forwarded to HTTP/1
//! and HTTP/2 endpoints, bodies, trailers, resets and retries.

use std::{cell::Cell, future::Future, rc::Rc, time::Duration};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{Client, request},
    proxy::{Config, Upstream},
};

#[path = "http2/client.rs"]
mod client;
#[path = "http2/keepalive.rs"]
mod keepalive;
#[path = "http2/limits.rs"]
mod limits;
#[path = "http2/proxy.rs"]
mod proxy;
#[path = "http2/upstream.rs"]
mod upstream;

/// Far beyond what anything here takes: a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(20);

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let patient = async { tokio::time::timeout(PATIENCE, test).await };
    local.block_on(&runtime, patient).expect("no hang")
}

#[test]
fn requests_reach_endpoints_of_either_version() {
    run(async {
        let address = upstream::echo().await;
        for (version, spoken) in [(Upstream::Http2, "HTTP/2.0"), (Upstream::Http1, "HTTP/1.1")] {
            let proxy = Config::to(version, address).start();
            let mut client = Client::connect(proxy.address()).await;
            for _ in 0..3 {
                let answer = client.get("/a?b=c").await.expect("an answer");
                assert_eq!(answer.status(), 200, "{version:?}");
                let got = answer.header("x-got");
                assert!(got.starts_with("GET ") && got.ends_with(spoken), "{got}");
                assert!(got.contains("/a?b=c"), "{got}");
                assert_eq!(answer.header("x-got-x-forwarded-proto"), "http");
                assert_eq!(answer.header("x-got-x-request-id").len(), 36);
                assert_eq!(answer.header("server"), "envoy");
            }
            assert_eq!(proxy.stat("http", "downstream_rq_http2_total"), 3);
            assert_eq!(proxy.stat("http", "downstream_rq_2xx"), 3);
            assert_eq!(proxy.stat("cluster", "upstream_cx_total"), 1, "{version:?}");
        }
    });
}

#[test]
fn bytes_are_counted_whatever_version_carries_them() {
    run(async {
        let address = upstream::echo().await;
        let body = Bytes::from(vec![b'x'; 100_000]);
        for version in [Upstream::Http2, Upstream::Http1] {
            let proxy = Config::to(version, address).start();
            let mut client = Client::connect(proxy.address()).await;
            let answer = client.send(request("POST", "/"), body.clone(), None).await;
            assert_eq!(answer.expect("an answer").body.len(), body.len());
            let sum =
                "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n";
            let mut http1 = TcpStream::connect(proxy.address())
                .await
                .expect("connected");
            http1.write_all(sum.as_bytes()).await.expect("sent");
            http1.write_all(&body).await.expect("sent");
            let mut answer = Vec::new();
            http1.read_to_end(&mut answer).await.expect("an answer");
            assert!(answer.len() > body.len());
            for scope in ["http", "cluster"] {
                for way in ["rx", "tx"] {
                    let side = if scope == "http" {
                        "downstream"
                    } else {
                        "upstream"
                    };
                    let counted = proxy.stat(scope, &format!("{side}_cx_{way}_bytes_total"));
                    // Both bodies, and heads and frames of some hundred bytes.
                    assert!(
                        (200_000..210_000).contains(&counted),
                        "{version:?} {scope} {way}: {counted}"
                    );
                }
            }
        }
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    run(async {
        let address = upstream::echo().await;
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        for version in [Upstream::Http2, Upstream::Http1] {
            let proxy = Config::to(version, address).start();
            let mut client = Client::connect(proxy.address()).await;
            for body in [Bytes::from_static(b"hello"), large.clone()] {
                for with_trailers in [false, true] {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-check", HeaderValue::from_static("sum"));
                    let trailers = with_trailers.then_some(trailers);
                    let post = request("POST", "/");
                    let answer = client.send(post, body.clone(), trailers.clone()).await;
                    let answer = answer.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    assert!(answer.body == body, "{version:?} {}", answer.body.len());
                    // hyper's HTTP/1 server sends trailers only if `trailer` names them.
                    if version == Upstream::Http2 {
                        assert_eq!(answer.trailers, trailers);
                    }
                }
            }
        }
    });
}

#[test]
fn http1_clients_reach_http2_endpoints() {
    run(async {
        let proxy = Config::to(Upstream::Http2, upstream::echo().await).start();
        for (request, expected) in [
            (
                "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n",
                &[
                    "HTTP/1.1 200 OK\r\n",
                    "x-got: GET http://h/a HTTP/2.0\r\n",
                    "x-got-te: trailers\r\n",
                    "content-length: 0\r\n",
                ][..],
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
                &[
                    "x-got-content-length: 5\r\n",
                    "content-length: 5\r\n",
                    "\r\n\r\nhello",
                ],
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
                &["content-length: 5\r\n", "\r\n\r\nabcde"],
            ),
            (
                "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                &["HTTP/1.1 200 OK\r\n", "connection: close\r\n\r\n"],
            ),
            (
                "GET / HTTP/1.1\r\nHost: h\r\nX-Status: 204\r\nConnection: close\r\n\r\n",
                &["HTTP/1.1 204 No Content\r\n", "\r\n\r\n"],
            ),
            (
                "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                &[
                    "HTTP/1.1 403 Forbidden\r\n",
                    "x-weir-reason: upgrade_refused\r\n",
                ],
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
                &["HTTP/1.1 400 Bad Request\r\n"],
            ),
        ] {
            let answer = client::http1(proxy.address(), request).await;
            for part in expected {
                assert!(answer.contains(part), "{request}\n{answer}\n{part}");
            }
            assert!(!answer.contains("x-got-x-hop"), "{answer}");
        }
        assert_eq!(proxy.stat("cluster", "upstream_cx_total"), 1);
    });
}

#[test]
fn trailers_reach_http1_clients_in_chunked_bodies() {
    run(async {
        let address = upstream::http2(|_, mut respond| async move {
            let response = http::Response::new(());
            let mut stream = respond.send_response(response, false).expect("sent");
            stream.send_data(Bytes::from("hello"), false).expect("sent");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            stream.send_trailers(trailers).expect("sent");
        })
        .await;
        let proxy = Config::to(Upstream::Http2, address).start();
        let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let answer = client::http1(proxy.address(), request).await;
        assert!(
            answer.contains("transfer-encoding: chunked\r\n"),
            "{answer}"
        );
        let body = "\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n";
        assert!(answer.ends_with(body), "{answer}");
    });
}

#[test]
fn http1_connections_stay_open_in_front_of_http2_endpoints() {
    run(async {
        let proxy = Config::to(Upstream::Http2, upstream::echo().await).start();
        let three = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
                     POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi\
                     GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let answer = client::http1(proxy.address(), three).await;
        let got: Vec<_> = answer.matches("HTTP/1.1 200 OK").collect();
        assert_eq!(got.len(), 3, "{answer}");
        assert_eq!(proxy.stat("http", "downstream_rq_http1_total"), 3);
        assert_eq!(proxy.stat("http", "downstream_rq_active"), 0);
    });
}

#[test]
fn answers_of_the_proxy_itself_are_those_of_http1() {
    run(async {
        let echo = upstream::echo().await;
        let nobody = {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
            socket.local_addr().expect("bound")
        };
        let routes = r#"{ match: { path: /direct }, direct_response: { status: 418, body: { inline_string: tea } } },
            { match: { path: /moved }, redirect: { path_redirect: /new } },
            { match: { path: /nobody1 }, route: { cluster: nobody1 } },
            { match: { path: /nobody2 }, route: { cluster: nobody2 } },
            { match: { path: /nowhere }, route: { cluster_header: x-cluster } },
            { match: { prefix: /old/ }, route: { cluster: up, prefix_rewrite: /, host_rewrite_literal: other.test } }"#;
        let proxy = Config::routes(routes)
            .cluster("up", Upstream::Http2, echo, "")
            .cluster("nobody1", Upstream::Http1, nobody, "")
            .cluster("nobody2", Upstream::Http2, nobody, "")
            .start();
        let mut client = Client::connect(proxy.address()).await;
        for (path, status, reason, body) in [
            ("/direct", 418, "", "tea"),
            ("/moved", 301, "", ""),
            (
                "/nobody1",
                503,
                "upstream_connect_failed",
                "remote connection failure",
            ),
            (
                "/nobody2",
                503,
                "upstream_connect_failed",
                "remote connection failure",
            ),
            ("/nowhere", 503, "cluster_not_found", ""),
            ("/none", 404, "route_not_found", ""),
        ] {
            let answer = client.get(path).await.expect(path);
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(answer.header("x-weir-reason"), reason, "{path}");
            let text = String::from_utf8(answer.body.clone()).expect("text");
            assert!(text.contains(body), "{path} {text}");
            if status == 301 {
                assert_eq!(answer.header("location"), "http://example.test/new");
            }
        }
        let answer = client.get("/old/a?b").await.expect("an answer");
        let got = answer.header("x-got");
        assert!(got.contains("http://other.test/a?b"), "{got}");
        assert_eq!(answer.header("x-got-x-envoy-original-path"), "/old/a?b");
        let mut grpc = request("POST", "/none");
        let kind = HeaderValue::from_static("application/grpc+proto");
        grpc.headers_mut().insert("content-type", kind);
        let answer = client
            .send(grpc, Bytes::new(), None)
            .await
            .expect("an answer");
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, "12"));
        assert_eq!(proxy.stat("http", "downstream_rq_active"), 0);
    });
}

#[test]
fn heads_without_bodies_end_with_their_head() {
    run(async {
        let address = upstream::echo().await;
        for version in [Upstream::Http2, Upstream::Http1] {
            let proxy = Config::to(version, address).start();
            let mut client = Client::connect(proxy.address()).await;
            for (method, status) in [("HEAD", "200"), ("GET", "204"), ("GET", "304")] {
                let mut request = request(method, "/");
                let value = HeaderValue::from_static(status);
                request.headers_mut().insert("x-status", value);
                let answer = client.send(request, Bytes::new(), None).await;
                let answer = answer.expect("an answer");
                assert_eq!(answer.status().to_string(), status, "{version:?} {method}");
                assert!(answer.body.is_empty());
            }
        }
    });
}

#[test]
fn both_sides_of_a_stream_talk_at_once() {
    run(async {
        // Answers each message as it comes, and closes with a status when the client is done.
        let address = upstream::http2(|request, mut respond| async move {
            let mut body = request.into_body();
            let mut stream = respond
                .send_response(http::Response::new(()), false)
                .expect("sent");
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                client::give(&mut stream, data, false).await;
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("3"));
            stream.send_trailers(trailers).expect("sent");
        })
        .await;
        let proxy = Config::to(Upstream::Http2, address).start();
        let mut client = Client::connect(proxy.address())
            .await
            .0
            .ready()
            .await
            .expect("open");
        let (response, mut stream) = client
            .send_request(request("POST", "/chat"), false)
            .expect("sent");
        let mut body = response
            .await
            .expect("a head before the request ends")
            .into_body();
        for message in ["one", "two", "three"] {
            stream.send_data(Bytes::from(message), false).expect("sent");
            let back = body.data().await.expect("more").expect("data");
            assert_eq!(back, message);
            let _ = body.flow_control().release_capacity(back.len());
        }
        stream.send_data(Bytes::new(), true).expect("sent");
        assert!(body.data().await.is_none());
        let trailers = body
            .trailers()
            .await
            .expect("a whole response")
            .expect("trailers");
        assert_eq!(trailers["grpc-status"], "3");
    });
}

#[test]
fn resets_pass_both_ways_with_their_codes() {
    run(async {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let address = upstream::http2(move |request, mut respond| {
            let tell = tell.clone();
            async move {
                if request.uri().path() == "/before" {
                    return respond.send_reset(Reason::INTERNAL_ERROR);
                }
                let response = http::Response::new(());
                let mut stream = respond.send_response(response, false).expect("sent");
                if request.uri().path() == "/after" {
                    stream.send_data(Bytes::from("part"), false).expect("sent");
                    // The part first, then the reset: it would overtake it.
                    let _ = request.into_body().data().await;
                    return stream.send_reset(Reason::ENHANCE_YOUR_CALM);
                }
                let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
                let _ = tell.send(reset.ok());
            }
        })
        .await;
        let proxy = Config::to(Upstream::Http2, address).start();
        let mut client = Client::connect(proxy.address()).await;
        let answer = client.get("/before").await.expect("an answer");
        assert_eq!(answer.status(), 503);
        assert_eq!(
            answer.header("x-weir-reason"),
            "upstream_reset_before_response"
        );

        let sender = client.0.clone();
        let mut open = sender.ready().await.expect("open");
        let after = open.send_request(request("POST", "/after"), false);
        let (response, mut stream) = after.expect("sent");
        let mut body = response.await.expect("a head").into_body();
        assert_eq!(body.data().await.expect("more").expect("data"), "part");
        stream.send_data(Bytes::from("go on"), true).expect("sent");
        let error = body.data().await.expect("more").expect_err("a reset");
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));

        let mut open = client.0.clone().ready().await.expect("open");
        let (response, mut stream) = open
            .send_request(request("POST", "/wait"), false)
            .expect("sent");
        let _response = response.await.expect("a head");
        stream.send_reset(Reason::from(42));
        assert_eq!(told.recv().await, Some(Some(Reason::from(42))));
        let answer = client.get("/before").await.expect("the connection goes on");
        assert_eq!(answer.status(), 503);
        assert_eq!(proxy.stat("http", "downstream_rq_rx_reset"), 1);
        assert_eq!(proxy.stat("http", "downstream_rq_active"), 0);
        assert_eq!(proxy.stat("cluster", "upstream_rq_active"), 0);
    });
}

#[test]
fn refused_streams_are_sent_again_where_the_policy_says_so() {
    run(async {
        for (on, expected) in [("refused-stream", 200), ("connect-failure", 503)] {
            let refuse = Rc::new(Cell::new(2));
            let address = upstream::http2(move |request, mut respond| {
                let refuse = Rc::clone(&refuse);
                async move {
                    let first = refuse.get() > 0;
                    refuse.set(refuse.get() - 1);
                    if first {
                        return respond.send_reset(Reason::REFUSED_STREAM);
                    }
                    let (body, _) = upstream::read(request.into_body()).await.expect("a body");
                    let response = http::Response::new(());
                    let mut stream = respond.send_response(response, false).expect("sent");
                    stream.send_data(body.into(), true).expect("sent");
                }
            })
            .await;
            let routes = format!(
                "{{ match: {{ prefix: / }}, route: {{ cluster: up, retry_policy: {{ \
                 retry_on: {on}, num_retries: 3 }} }} }}"
            );
            let proxy = Config::routes(&routes)
                .cluster("up", Upstream::Http2, address, "")
                .start();
            let mut client = Client::connect(proxy.address()).await;
            let body = Bytes::from_static(b"again");
            let answer = client.send(request("POST", "/"), body.clone(), None).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status(), expected, "{on}");
            if expected == 200 {
                assert_eq!(answer.body, body);
                assert_eq!(proxy.stat("cluster", "upstream_rq_retry"), 2);
            }
        }
    });
}

#[test]
fn an_endpoint_that_goes_away_costs_no_request() {
    run(async {
        // Each connection says GOAWAY after a few requests, whatever else is on its way.
        let address = upstream::accept(|stream| async move {
            let mut http2 = h2::server::handshake(stream).await.expect("preface");
            let mut served = 0;
            while let Some(Ok((_, mut respond))) = http2.accept().await {
                let _ = respond.send_response(http::Response::new(()), true);
                served += 1;
                if served == 7 {
                    http2.graceful_shutdown();
                }
            }
        })
        .await;
        let proxy = Config::to(Upstream::Http2, address).start();
        let client = Client::connect(proxy.address()).await;
        for _ in 0..10 {
            let all = (0..20).map(|_| {
                let mut client = Client(client.0.clone());
                async move { client.get("/").await.map(|answer| answer.status()) }
            });
            for answer in futures_util::future::join_all(all).await {
                assert_eq!(answer.expect("an answer"), 200);
            }
        }
        assert!(proxy.stat("cluster", "upstream_cx_total") > 1);
    });
}

#[test]
fn requests_of_many_clients_share_a_connection() {
    run(async {
        let address = upstream::echo().await;
        let proxy = Config::to(Upstream::Http2, address).start();
        for _ in 0..2 {
            let all = (0..40).map(|_| async {
                let mut client = Client::connect(proxy.address()).await;
                client.get("/").await.map(|answer| answer.status())
            });
            for answer in futures_util::future::join_all(all).await {
                assert_eq!(answer.expect("an answer"), 200);
            }
        }
        assert_eq!(proxy.stat("cluster", "upstream_cx_total"), 1);
        assert_eq!(proxy.stat("cluster", "upstream_cx_http2_total"), 1);
    });
}

#[test]
fn a_second_connection_is_opened_at_the_peers_stream_limit() {
    run(async {
        let release = Rc::new(tokio::sync::Semaphore::new(0));
        let gate = Rc::clone(&release);
        let address = upstream::accept(move |stream| {
            let gate = Rc::clone(&gate);
            async move {
                let mut builder = h2::server::Builder::new();
                let builder = builder.max_concurrent_streams(2);
                let handshake = builder.handshake::<_, Bytes>(stream);
                let mut http2 = handshake.await.expect("preface");
                while let Some(Ok((request, mut respond))) = http2.accept().await {
                    let gate = Rc::clone(&gate);
                    tokio::task::spawn_local(async move {
                        if request.uri().path() == "/wait" {
                            let _ = gate.acquire().await;
                        }
                        let _ = respond.send_response(http::Response::new(()), true);
                    });
                }
            }
        })
        .await;
        let proxy = Config::to(Upstream::Http2, address).start();
        let mut client = Client::connect(proxy.address()).await;
        // The peer's settings have come with the first answer.
        client.get("/").await.expect("an answer");
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let mut client = Client(client.0.clone());
                tokio::task::spawn_local(async move {
                    client.get("/wait").await.map(|answer| answer.status())
                })
            })
            .collect();
        while proxy.stat("cluster", "upstream_cx_active") < 3 {
            tokio::task::yield_now().await;
        }
        release.add_permits(100);
        for answer in waiting {
            let status = answer.await.expect("no panic").expect("an answer");
            assert_eq!(status, 200);
        }
        assert_eq!(proxy.stat("cluster", "upstream_rq_rx_reset"), 0);
    });
}

#[test]
fn a_slow_reader_holds_its_writer_back() {
    run(async {
        let sent = Rc::new(Cell::new(0_usize));
        let count = Rc::clone(&sent);
        let address = upstream::http2(move |_, mut respond| {
            let count = Rc::clone(&count);
            async move {
                let response = http::Response::new(());
                let mut stream = respond.send_response(response, false).expect("sent");
                for _ in 0..256 {
                    let part = Bytes::from(vec![b'x'; 64 * 1024]);
                    if !client::give(&mut stream, part, false).await {
                        return;
                    }
                    count.set(count.get() + 64 * 1024);
                }
                stream.send_data(Bytes::new(), true).expect("sent");
            }
        })
        .await;
        let window = 128 * 1024;
        let mut config = Config::routes("{ match: { prefix: / }, route: { cluster: up } }");
        config = config.windowed_cluster("up", address, window);
        let proxy = config.start();
        let mut open = Client::connect(proxy.address())
            .await
            .0
            .ready()
            .await
            .expect("open");
        let (response, _) = open.send_request(client::get("/"), true).expect("sent");
        let mut body = response.await.expect("a head").into_body();
        // 64 KiB is what the client takes; the rest is held back by the windows behind it.
        let mut before = usize::MAX;
        while before != sent.get() {
            before = sent.get();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let bound = 64 * 1024 + 3 * window as usize + 256 * 1024;
        assert!(sent.get() <= bound, "{} > {bound}", sent.get());
        let mut received = 0;
        while let Some(data) = body.data().await {
            let data = data.expect("data");
            received += data.len();
            body.flow_control()
                .release_capacity(data.len())
                .expect("released");
        }
        assert_eq!(received, 16 << 20);
    });
}

#[test]
fn timeouts_answer_or_reset() {
    run(async {
        let address = upstream::http2(|request, mut respond| async move {
            if request.uri().path() == "/half" {
                let response = http::Response::new(());
                let mut stream = respond.send_response(response, false).expect("sent");
                stream.send_data(Bytes::from("half"), false).expect("sent");
                let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            } else {
                let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            }
        })
        .await;
        let routes = "{ match: { prefix: /idle }, route: { cluster: up, idle_timeout: 0.1s } }, \
                      { match: { prefix: / }, route: { cluster: up, timeout: 0.1s } }";
        let proxy = Config::routes(routes)
            .cluster("up", Upstream::Http2, address, "")
            .start();
        let mut client = Client::connect(proxy.address()).await;
        let answer = client.get("/late").await.expect("an answer");
        assert_eq!(answer.status(), 504);
        assert_eq!(answer.header("x-weir-reason"), "upstream_response_timeout");
        // It was not the client who kept us waiting; a client that has more to send did.
        let answer = client.get("/idle").await.expect("an answer");
        assert_eq!(answer.status(), 504);
        let mut open = client.0.clone().ready().await.expect("open");
        let unfinished = open.send_request(request("POST", "/idle"), false);
        let (response, _stream) = unfinished.expect("sent");
        assert_eq!(response.await.expect("an answer").status(), 408);
        let error = client.get("/half").await.err().expect("a reset");
        assert!(error.is_reset(), "{error}");
    });
}

#[test]
fn draining_says_goaway_and_lets_streams_end() {
    run(async {
        let release = Rc::new(tokio::sync::Notify::new());
        let gate = Rc::clone(&release);
        let address = upstream::http2(move |_, mut respond| {
            let gate = Rc::clone(&gate);
            async move {
                gate.notified().await;
                let _ = respond.send_response(http::Response::new(()), true);
            }
        })
        .await;
        let proxy = Config::to(Upstream::Http2, address).start();
        let mut client = Client::connect(proxy.address()).await;
        let mut other = Client(client.0.clone());
        let open = tokio::task::spawn_local(async move { other.get("/").await });
        while proxy.stat("cluster", "upstream_rq_active") == 0 {
            tokio::task::yield_now().await;
        }
        proxy.handle.drain(false);
        // New requests are refused by our own client once it has read GOAWAY.
        loop {
            let ready = std::future::poll_fn(|cx| client.0.poll_ready(cx)).await;
            if ready.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        release.notify_one();
        let answer = open.await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), 200);
        while proxy.stat("http", "downstream_cx_active") > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn informational_responses_come_before_the_answer() {
    run(async {
        let address = upstream::accept(|mut stream| async move {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(read > 0);
            let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer.as_bytes()).await.expect("written");
        })
        .await;
        let proxy = Config::to(Upstream::Http1, address).start();
        let client = Client::connect(proxy.address()).await;
        let mut open = client.0.ready().await.expect("open");
        let (mut response, _) = open.send_request(client::get("/"), true).expect("sent");
        let hints = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        let hints = hints.expect("one").expect("a head");
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"]),
            (103, &HeaderValue::from_static("</a>"))
        );
        assert_eq!(response.await.expect("an answer").status(), 200);
    });
}

#[test]
fn requests_that_cannot_be_served_are_refused_by_name() {
    run(async {
        let proxy = Config::to(Upstream::Http2, upstream::echo().await).start();
        let mut client = Client::connect(proxy.address()).await;
        let connect = http::Request::connect("other.test:443")
            .body(())
            .expect("a request");
        let answer = client
            .send(connect, Bytes::new(), None)
            .await
            .expect("an answer");
        assert_eq!(
            (answer.status(), answer.header("x-weir-reason")),
            (403, "upgrade_refused")
        );
        let mut many = client::get("/");
        for index in 0..101 {
            let name = format!("x-{index}")
                .parse::<http::HeaderName>()
                .expect("a name");
            many.headers_mut()
                .insert(name, HeaderValue::from_static("1"));
        }
        let answer = client
            .send(many, Bytes::new(), None)
            .await
            .expect("an answer");
        assert_eq!(
            (answer.status(), answer.header("x-weir-reason")),
            (431, "request_head_too_large")
        );
        let answer = client.get("/").await.expect("the connection goes on");
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn a_connection_ends_after_as_many_requests_as_it_may_carry() {
    run(async {
        let mut config = Config::to(Upstream::Http2, upstream::echo().await);
        config.manager = ", common_http_protocol_options: { max_requests_per_connection: 2 }";
        let proxy = config.start();
        let mut client = Client::connect(proxy.address()).await;
        for _ in 0..2 {
            assert_eq!(client.get("/").await.expect("an answer").status(), 200);
        }
        while proxy.stat("http", "downstream_cx_active") > 0 {
            tokio::task::yield_now().await;
        }
        assert!(client.get("/").await.is_err());
        config.manager =
            ", common_http_protocol_options: { idle_timeout: 0.1s }, drain_timeout: 0.1s";
        let proxy = config.start();
        let mut client = Client::connect(proxy.address()).await;
        assert_eq!(client.get("/").await.expect("an answer").status(), 200);
        while proxy.stat("http", "downstream_cx_active") > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(proxy.stat("http", "downstream_cx_idle_timeout"), 1);
    });
}

/// Lines that the access log has, once it has `count`. They are written out once a second.
async fn logged(file: &std::path::Path, count: usize) -> Vec<String> {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count {
            return text.lines().map(str::to_owned).collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An access log of each type.
fn access_logs(file: &std::path::Path) -> String {
    let text = "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESP(SERVER)% \
                %UPSTREAM_CLUSTER%\\n";
    let format = format!("log_format: {{ text_format_source: {{ inline_string: \"{text}\" }} }}");
    let types = "type.googleapis.com/envoy.extensions.access_loggers";
    let file = file.display();
    format!(
        r#", access_log: [
          {{ name: file, typed_config: {{
            "@type": {types}.file.v3.FileAccessLog, path: "{file}", {format} }} }},
          {{ name: out, typed_config: {{ "@type": {types}.stream.v3.StdoutAccessLog }} }},
          {{ name: err, typed_config: {{ "@type": {types}.stream.v3.StderrAccessLog }} }} ]"#
    )
}

/// Asks for what is never answered, and leaves: by a reset, or altogether.
async fn leave(proxy: &proxy::Proxy, altogether: bool) {
    let socket = TcpStream::connect(proxy.address()).await;
    let handshake = h2::client::handshake(socket.expect("the proxy listens"));
    let (mut sender, connection) = handshake.await.expect("preface");
    let connection = tokio::task::spawn_local(connection);
    let sent = sender.send_request(client::get("/gone"), true);
    let (_response, mut stream) = sent.expect("sent");
    until(|| proxy.stat("cluster", "upstream_rq_active") == 1).await;
    match altogether {
        true => connection.abort(),
        false => stream.send_reset(Reason::CANCEL),
    }
    until(|| proxy.stat("http", "downstream_rq_active") == 0).await;
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn every_request_has_its_line_in_the_access_log_however_it_ends() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let address = upstream::http2(|request, mut respond| async move {
            let path = request.uri().path();
            if path == "/reset" {
                return respond.send_reset(Reason::INTERNAL_ERROR);
            }
            if path == "/late" {
                let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                return;
            }
            let end = path != "/half";
            let mut stream = respond
                .send_response(http::Response::new(()), end)
                .expect("sent");
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        })
        .await;
        let routes = r#"{ match: { path: /direct }, direct_response: { status: 200 } },
            { match: { path: /moved }, redirect: { path_redirect: /new } },
            { match: { path: /late }, route: { cluster: up, timeout: 0.1s } },
            { match: { path: /half }, route: { cluster: up, idle_timeout: 0.1s } },
            { match: { path: /gone }, route: { cluster: up, prefix_rewrite: /late } },
            { match: { prefix: /up }, route: { cluster: up } },
            { match: { path: /reset }, route: { cluster: up } }"#;
        let file = directory.path().join("access.log");
        let mut config = Config::routes(routes).cluster("up", Upstream::Http2, address, "");
        config.manager = access_logs(&file).leak();
        let proxy = config.start();
        let mut client = Client::connect(proxy.address()).await;
        for path in [
            "/up", "/direct", "/moved", "/nowhere", "/late", "/reset", "/half",
        ] {
            let _ = client.get(path).await;
        }
        until(|| proxy.stat("http", "downstream_rq_active") == 0).await;
        leave(&proxy, false).await;
        leave(&proxy, true).await;
        // An HTTP/1 client of the same listener.
        let mut http1 = TcpStream::connect(proxy.address()).await.expect("open");
        let request = b"GET /gone HTTP/1.1\r\nHost: h\r\n\r\n";
        http1.write_all(request).await.expect("sent");
        until(|| proxy.stat("cluster", "upstream_rq_active") == 1).await;
        drop(http1);
        let expected = [
            "GET /up 200 - envoy up",
            "GET /direct 200 - envoy -",
            "GET /moved 301 - envoy -",
            "GET /nowhere 404 NR envoy -",
            "GET /late 504 UT envoy up",
            "GET /reset 503 UR envoy up",
            "GET /half 200 SI envoy up",
            "GET /gone 0 DC - up",
            "GET /gone 0 DC - up",
            "GET /gone 0 DC - up",
        ];
        assert_eq!(logged(&file, expected.len()).await, expected);
    });
}

#[test]
fn clients_of_grpc_are_refused_in_its_words() {
    run(async {
        let late = upstream::http2(|_, mut respond| async move {
            let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        })
        .await;
        let routes = "{ match: { prefix: / }, route: { cluster: up, timeout: 0.1s } }";
        let proxy = Config::routes(routes)
            .cluster("up", Upstream::Http2, late, "")
            .start();
        let mut client = Client::connect(proxy.address()).await;
        for (length, status) in [(70_000, "8"), (10, "14")] {
            let mut call = request("POST", "/svc/method");
            let headers = call.headers_mut();
            headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            let value = "x".repeat(length).parse().expect("a value");
            headers.insert("x-metadata", value);
            let answer = client.send(call, Bytes::new(), None).await;
            let answer = answer.expect("an answer");
            // A head is all there is: gRPC calls it trailers-only.
            assert_eq!(
                (answer.status(), answer.header("grpc-status")),
                (200, status)
            );
            assert!(answer.body.is_empty() && answer.trailers.is_none());
        }
        let mut plain = client::get("/");
        let value = "x".repeat(70_000).parse().expect("a value");
        plain.headers_mut().insert("x-large", value);
        let answer = client.send(plain, Bytes::new(), None).await;
        assert_eq!(answer.expect("an answer").status(), 431);
    });
}

#[test]
fn http1_clients_of_http2_endpoints_are_held_to_their_number_of_requests() {
    run(async {
        let mut config = Config::to(Upstream::Http2, upstream::echo().await);
        config.manager = ", common_http_protocol_options: { max_requests_per_connection: 2 }";
        let proxy = config.start();
        let three = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3);
        let answer = client::http1(proxy.address(), &three).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
        assert_eq!(answer.matches("connection: close").count(), 1, "{answer}");
    });
}
