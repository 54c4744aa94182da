//! HTTP/2 with prior knowledge through the data plane, on loopback: streams forwarded to HTTP/1
//! and HTTP/2 endpoints, bodies, trailers, resets and retries.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::{
    client::{Client, request},
    proxy::{Config, Upstream},
};

#[path = "http2/client.rs"]
mod client;
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
