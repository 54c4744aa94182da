//! An API server that asks the webhook.

use std::{net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::{
    PATIENCE,
    strangers::{BodyEnd, connect},
    world::CLIENT,
};

/// TLS that trusts one root, and speaks HTTP/2.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

// === impl Tls ===

impl Tls {
    pub(crate) fn trusting(root: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(root).expect("a certificate");
        roots.add(root).expect("a root");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost")?;
        Ok(self.0.connect(name, stream).await?)
    }
}

/// Has pods reviewed, one after the other on a connection each.
pub(crate) fn admissions(webhook: SocketAddr, tls: &Tls, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        for number in 0..count {
            let review = timeout(PATIENCE, review(webhook, tls)).await;
            let answer = review.expect("in time").unwrap_or_else(|error| {
                panic!("review {number} of {count}: {error:#}");
            });
            assert_eq!(answer["response"]["allowed"], true, "{answer}");
        }
    });
}

/// An AdmissionReview of a pod that is made.
pub(crate) fn review_of(pod: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": "CREATE", "namespace": "shop", "kind": {"kind": "Pod"},
        "object": pod,
    }})
}

async fn review(webhook: SocketAddr, tls: &Tls) -> anyhow::Result<Value> {
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app"}]}});
    let review = review_of(&pod).to_string();
    let stream = connect(CLIENT, webhook).await?;
    let answer = ask(tls, stream, review.into(), BodyEnd::Sent).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Asks for a review with this body, over HTTP/2. What is answered.
pub(crate) async fn ask(
    tls: &Tls,
    stream: TcpStream,
    body: Bytes,
    end: BodyEnd,
) -> anyhow::Result<Vec<u8>> {
    let stream = tls.connect(stream).await?;
    let (mut requests, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post("https://localhost/inject");
    let request = request
        .header("content-type", "application/json")
        .body(())?;
    let (response, mut sending) = requests.send_request(request, false)?;
    sending.send_data(body, end == BodyEnd::Sent)?;
    let mut body = response.await?.into_body();
    let mut answer = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        answer.extend_from_slice(&part);
    }
    connection.abort();
    Ok(answer)
}
