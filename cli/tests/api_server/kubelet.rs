//! The part of a kubelet that `port-forward` needs: the API server connects to it and it connects
//! to the port, here one of the API server's own network namespace.

use std::{future::Future, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{Request, Response},
};
use weir_tests::api_server::ApiServer;

use super::installation::NODE;

/// Its address: one of the namespace's own, for the API server refuses loopback ones.
const ADDRESS: &str = "10.250.0.1";
const PORT: u16 = 10250;
const PROTOCOL: &str = "v4.channel.k8s.io";

/// Tells the API server where the node's kubelet is.
pub(crate) fn announce(api: &ApiServer) -> Result<()> {
    let netns = api.netns().context("runs in a namespace")?;
    netns.ip(&["addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"])?;
    let patch = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
    }});
    let patch = format!("--patch={patch}");
    api.kubectl(&["patch", "node", NODE, "--subresource=status", &patch])?;
    Ok(())
}

/// Forwards ports until `ended`. To be run in the API server's network namespace.
pub(crate) fn run(ended: impl Future<Output = ()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let address: SocketAddr = format!("{ADDRESS}:{PORT}").parse()?;
        let listener = TcpListener::bind(address).await?;
        let tls = acceptor()?;
        let serve = async {
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(forward(stream, tls.clone()));
            }
        };
        tokio::select! {
            failed = serve => failed,
            () = ended => Ok(()),
        }
    })
}

fn acceptor() -> Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(vec![NODE.to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// One port of one request. Channel 0 carries its bytes, channel 1 what went wrong; each begins
/// with the port.
#[allow(
    clippy::result_large_err,
    reason = "the callback is tungstenite's to shape"
)]
async fn forward(stream: TcpStream, tls: TlsAcceptor) -> Result<()> {
    let stream = tls.accept(stream).await?;
    let mut port = 0_u16;
    let answer = |request: &Request, mut response: Response| {
        let query = request.uri().query().unwrap_or_default();
        let asked = query.split('&').find_map(|part| part.strip_prefix("port="));
        port = asked
            .and_then(|asked| asked.parse().ok())
            .unwrap_or_default();
        let protocol = PROTOCOL.parse().expect("a header value");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, answer).await?;
    let (mut to_client, mut from_client) = socket.split();
    for channel in [0, 1] {
        let [low, high] = port.to_le_bytes();
        to_client
            .send(Message::binary(vec![channel, low, high]))
            .await?;
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            message = from_client.next() => match message {
                Some(Ok(Message::Binary(bytes))) if bytes.first() == Some(&0) => {
                    upstream.write_all(&bytes[1..]).await?;
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                Some(Ok(_)) => {}
            },
            read = upstream.read(&mut buffer) => match read? {
                0 => return Ok(to_client.close().await?),
                read => {
                    let frame = [&[0], &buffer[..read]].concat();
                    to_client.send(Message::binary(frame)).await?;
                }
            },
        }
    }
}
