//! What the debug endpoints say of a client, and to whom.

use std::{fs, net::SocketAddr, time::Duration};

use clap::Parser;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
};
use weir_api::xds::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    type_url,
};
use weir_control::{Bound, Config};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.4.0.1, ports: [{name: http, port: 80}]}
";
const CART: &str = "outbound|80||cart.shop.svc.cluster.local";
const NODE: &str = "sidecar~10.5.9.9~client-0.shop~shop.svc.cluster.local";

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Control {
    bound: Bound,
    _stop: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

impl Control {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let manifests = directory.path().join("manifests");
        fs::create_dir(&manifests).expect("directory");
        fs::write(manifests.join("shop.yaml"), SERVICE).expect("manifests");
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        let mut flags = vec![
            "weir-control".to_owned(),
            flag("manifests", &manifests.to_string_lossy()),
            flag(
                "certs-dir",
                &directory.path().join("certs").to_string_lossy(),
            ),
        ];
        for port in [
            "xds-plaintext-addr",
            "xds-addr",
            "debug-addr",
            "webhook-addr",
        ] {
            flags.push(flag(port, "127.0.0.1:0"));
        }
        let config = Config::try_parse_from(flags).expect("flags");
        let (stop, stopped) = watch::channel(false);
        let (tell, bound) = oneshot::channel();
        tokio::spawn(async move {
            let told = |bound: &Bound| tell.send(bound.clone()).expect("somebody waits");
            weir_control::run(config, stopped, told)
                .await
                .expect("starts");
        });
        Self {
            bound: bound.await.expect("is told where it listens"),
            _stop: stop,
            _directory: directory,
        }
    }

    async fn get(&self, path: &str, host: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.bound.debug).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("ask");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        (status.parse().expect("a number"), body.to_owned())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path, "localhost:15014").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Asks for clusters of the server at that address until its first type stands like that.
    async fn until(&self, wanted: &Value) -> Value {
        let reached = async {
            loop {
                let status = self.json("/debug/syncz?proxy=client-0.shop").await;
                let clusters = &status["clients"][0]["types"][0];
                if clusters["state"] == *wanted {
                    return clusters.clone();
                }
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("in time")
    }
}

/// Subscribes to the cluster of the service, and gives what to answer with.
async fn subscribe(
    xds: SocketAddr,
) -> (mpsc::Sender<DeltaDiscoveryRequest>, DeltaDiscoveryRequest) {
    let client = AggregatedDiscoveryServiceClient::connect(format!("http://{xds}")).await;
    let (requests, mut receiver) = mpsc::channel(4);
    let ask = DeltaDiscoveryRequest {
        node: Some(Node {
            id: NODE.to_owned(),
            ..Node::default()
        }),
        type_url: type_url::CLUSTER.to_owned(),
        resource_names_subscribe: vec![CART.to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(ask).await.expect("open");
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let responses = client
        .expect("connect")
        .delta_aggregated_resources(stream)
        .await;
    let mut responses = responses.expect("a stream").into_inner();
    let response = responses
        .next()
        .await
        .expect("a response")
        .expect("no error");
    tokio::spawn(async move { while responses.next().await.is_some() {} });
    let answer = DeltaDiscoveryRequest {
        type_url: response.type_url,
        response_nonce: response.nonce,
        ..DeltaDiscoveryRequest::default()
    };
    (requests, answer)
}

#[tokio::test]
async fn what_a_proxy_was_sent_and_accepted_is_shown() {
    let control = Control::start().await;
    let (requests, answer) = subscribe(control.bound.xds_plaintext).await;
    let clusters = control.until(&"stale".into()).await;
    assert_eq!(
        (&clusters["kind"], &clusters["sent"]),
        (&"cluster".into(), &1.into())
    );
    requests.send(answer).await.expect("the stream is open");
    let clusters = control.until(&"synced".into()).await;
    assert_eq!(
        (&clusters["acked"], &clusters["sent"]),
        (&1.into(), &0.into())
    );
    assert!(clusters["resources"].is_null(), "a summary");

    let connections = control.json("/debug/connections").await;
    assert_eq!(connections[0]["node"], NODE);
    let peer = connections[0]["peer"].as_str().expect("an address");
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");

    let dump = control.json("/debug/config_dump?proxy=client-0.shop").await;
    assert_eq!(dump[0]["types"][0]["resources"][0]["state"], "acked");
    assert_eq!(dump[0]["latest"]["cluster"][CART]["name"], CART);
    let other = control
        .get("/debug/config_dump?proxy=other.shop", "localhost")
        .await;
    assert_eq!(other.0, 404, "{}", other.1);
    assert_eq!(control.get("/debug/config_dump", "localhost").await.0, 400);
}

#[tokio::test]
async fn foreign_names_see_metrics_and_readiness_and_no_more() {
    let control = Control::start().await;
    for (path, status) in [
        ("/", 200),
        ("/metrics", 200),
        ("/ready", 200),
        ("/debug/registryz", 403),
        ("/debug/connections", 403),
        ("/debug/config_dump?proxy=x", 403),
    ] {
        assert_eq!(control.get(path, "evil.example").await.0, status, "{path}");
    }
    assert_eq!(control.get("/debug/registryz", "localhost").await.0, 200);
}
