//! Endpoints that are gone without a word, and PINGs that find out.

use std::{future::pending, net::SocketAddr};

use bytes::Bytes;
use http::Response;

use crate::{
    client::{Client, request},
    proxy::{Config, Proxy},
    run, until, upstream,
};

/// An endpoint whose first connection takes one request and freezes; others go on.
async fn freezing() -> SocketAddr {
    let connections = std::cell::Cell::new(0);
    upstream::accept(move |stream| {
        let is_first = connections.replace(connections.get() + 1) == 0;
        async move {
            let mut http2 = h2::server::handshake(stream).await.expect("preface");
            while let Some(Ok((_, mut respond))) = http2.accept().await {
                let sent = respond.send_response(Response::new(()), true);
                sent.expect("an open stream");
                if is_first {
                    // The answer leaves with the next turn of the connection.
                    let turn = http2.accept();
                    let _ = tokio::time::timeout(std::time::Duration::from_millis(20), turn).await;
                    pending::<()>().await;
                }
            }
        }
    })
    .await
}

async fn proxy(keepalive: &str) -> Proxy {
    let options = format!("http2_protocol_options: {{ connection_keepalive: {{ {keepalive} }} }}");
    let routes = "{ match: { prefix: / }, route: { cluster: up } }";
    let address = freezing().await;
    Config::routes(routes)
        .cluster_with("up", &options, address, "")
        .start()
}

async fn get(client: &mut Client) -> u16 {
    let answer = client.send(request("GET", "/"), Bytes::new(), None).await;
    answer.expect("an answer").status()
}

#[test]
fn a_connection_whose_endpoint_answers_no_ping_is_replaced_before_the_next_request() {
    run(async {
        let proxy = proxy("interval: 0.1s, timeout: 0.2s").await;
        let mut client = Client::connect(proxy.address()).await;
        assert_eq!(get(&mut client).await, 200);
        until(|| proxy.stat("cluster", "http2.keepalive_timeout") == 1).await;
        assert_eq!(get(&mut client).await, 200);
        assert_eq!(proxy.stat("cluster", "upstream_cx_total"), 2);
    });
}

#[test]
fn a_connection_that_was_idle_is_asked_with_the_next_request() {
    run(async {
        let proxy = proxy("timeout: 0.2s, connection_idle_interval: 0.05s").await;
        let mut client = Client::connect(proxy.address()).await;
        assert_eq!(get(&mut client).await, 200);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        // It was on its way when the connection proved dead.
        assert_eq!(get(&mut client).await, 503);
        assert_eq!(proxy.stat("cluster", "http2.keepalive_timeout"), 1);
        assert_eq!(get(&mut client).await, 200);
    });
}
