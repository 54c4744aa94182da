use std::{net::SocketAddr, process::Stdio};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use weir_injector::{Config, webhook::Injector};
use weir_tests::certificates::Authority;

use super::*;
use crate::certificates::Certificates;

/// A webhook on loopback.
struct Server {
    address: SocketAddr,
    directory: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn server() -> Server {
    server_for(None).await
}

/// One for clients that this authority knows.
async fn server_for(client_ca: Option<&Authority>) -> Server {
    let directory = tempfile::tempdir().expect("directory");
    let certificates =
        Certificates::open(directory.path(), &["localhost".to_owned()]).expect("certificates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let (stop, stopped) = oneshot::channel();
    let file = client_ca.map(|authority| {
        let file = directory.path().join("client-ca.pem");
        std::fs::write(&file, &authority.pem).expect("written");
        file
    });
    let tls = tls(certificates.serving(), file.as_deref()).expect("TLS");
    let task = tokio::spawn(async move {
        let router = weir_injector::webhook::router(Arc::new(Injector::new(Config::default())));
        let shutdown = async { stopped.await.unwrap_or_default() };
        let guard = guards::webhook(Vec::new());
        serve_guarded(listener, &guard, router, tls, shutdown).await;
    });
    Server {
        address,
        directory,
        stop,
        task,
    }
}

/// Posts a body with curl, which trusts the root alone; gives curl's exit code, the answer's
/// version, status and body.
async fn curl(server: &Server, version: &str, body: &[u8]) -> (i32, String, String) {
    curl_with(server, version, body, &[]).await
}

/// The same, with more arguments.
async fn curl_with(
    server: &Server,
    version: &str,
    body: &[u8],
    more: &[&str],
) -> (i32, String, String) {
    let root = server.directory.path().join("root-cert.pem");
    let port = server.address.port();
    let mut curl = Command::new("curl")
        .args(["--silent", "--max-time", "20", version, "--cacert"])
        .arg(root)
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
        .args([
            "--header",
            "content-type: application/json",
            "--header",
            "expect:",
        ])
        .args([
            "--data-binary",
            "@-",
            "--write-out",
            "\n%{http_version} %{http_code}",
        ])
        .arg(format!("https://localhost:{port}/inject"))
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    let mut stdin = curl.stdin.take().expect("stdin");
    // A refused body need not be read to its end.
    let _ = stdin.write_all(body).await;
    drop(stdin);
    let output = curl.wait_with_output().await.expect("curl");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("status");
    (
        output.status.code().unwrap_or(-1),
        status.to_owned(),
        body.to_owned(),
    )
}

fn review() -> Vec<u8> {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": "CREATE", "namespace": "shop", "kind": {"kind": "Pod"},
        "object": {"spec": {"containers": [{"name": "app"}]}},
    }});
    review.to_string().into_bytes()
}

#[tokio::test]
async fn curl_with_the_root_certificate_gets_a_review_over_both_versions() {
    let server = server().await;
    for (flag, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let (code, status, body) = curl(&server, flag, &review()).await;
        assert_eq!((code, status.as_str()), (0, expected), "{body}");
        let answer: Value = serde_json::from_str(&body).expect("json");
        assert_eq!(answer["response"]["allowed"], true);
        assert!(answer["response"]["patch"].is_string());
    }
    let (_, status, body) = curl(&server, "--http1.1", &vec![b' '; 3 * 1024 * 1024 + 1]).await;
    assert_eq!(status, "1.1 413", "{body}");
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_cut_off_and_the_next_is_served() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    let (code, status, _) = curl(&server, "--http1.1", &review()).await;
    assert_eq!((code, status.as_str()), (0, "1.1 200"));
}

/// A TLS connection that trusts the server's root and no other.
async fn connect(server: &Server) -> TlsStream<TcpStream> {
    let root = CertificateDer::from_pem_file(server.directory.path().join("root-cert.pem"));
    let mut roots = RootCertStore::empty();
    roots.add(root.expect("root")).expect("a CA");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("name");
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.expect("handshake")
}

#[tokio::test]
async fn shutdown_closes_an_idle_connection_and_ends_the_server() {
    let server = server().await;
    let mut stream = connect(&server).await;
    stream
        .write_all(b"GET /none HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 404");
    server.stop.send(()).expect("running");
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .await
        .expect("closed in order");
    server.task.await.expect("ended");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn only_clients_that_the_authority_knows_are_served_where_there_is_one() {
    let (known, other) = (Authority::new("front"), Authority::new("other"));
    let server = server_for(Some(&known)).await;
    let with = |authority: &Authority, name: &str| {
        let certificate = authority.issue(&["apiserver.example"]);
        let path = |kind: &str| server.directory.path().join(format!("{name}.{kind}"));
        std::fs::write(path("crt"), certificate.chain).expect("written");
        std::fs::write(path("key"), certificate.key).expect("written");
        let path = |kind: &str| path(kind).to_str().expect("a path").to_owned();
        [
            "--cert".to_owned(),
            path("crt"),
            "--key".to_owned(),
            path("key"),
        ]
    };
    for version in ["--http1.1", "--http2"] {
        let (code, _, body) = curl(&server, version, &review()).await;
        assert!(
            code != 0 && body.is_empty(),
            "without a certificate: {code}"
        );
        for (authority, name, served) in [(&known, "known", true), (&other, "other", false)] {
            let more = with(authority, name);
            let more: Vec<_> = more.iter().map(String::as_str).collect();
            let (code, status, body) = curl_with(&server, version, &review(), &more).await;
            assert_eq!(
                code == 0 && status.ends_with(" 200"),
                served,
                "{name}: {body}"
            );
        }
    }
}

#[test]
fn a_file_without_a_certificate_is_named() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("client-ca.pem");
    let serving = Arc::new(Serving::default());
    for content in [None, Some(""), Some("nonsense")] {
        if let Some(content) = content {
            std::fs::write(&file, content).expect("written");
        }
        let error = tls(&serving, Some(&file)).expect_err("refused").to_string();
        assert!(
            error.contains("--webhook-client-ca") && error.contains("client-ca.pem"),
            "{error}"
        );
    }
}
