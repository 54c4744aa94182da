use std::time::Duration;

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::*;
use crate::certificates::{
    rotation::{Origin, Policy},
    stored::Stored,
    verify,
};

const NAME: &str = "weir-control.weir-system.svc";

fn policy() -> Policy {
    Policy {
        origin: Origin::Own,
        names: vec![NAME.to_owned()],
        ca_life: Duration::from_secs(1000),
        serving_life: Duration::from_secs(100),
        workload_life: Duration::from_secs(1000),
    }
}

fn client(roots: RootCertStore) -> TlsConnector {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Connects as a client that trusts this bundle, to a server that echoes.
async fn connect(server: &TlsAcceptor, bundle: &str) -> std::io::Result<TlsStream<DuplexStream>> {
    let (near, far) = duplex(16 * 1024);
    let server = server.clone();
    tokio::spawn(async move {
        if let Ok(mut stream) = server.accept(far).await {
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                let _ = stream.write_all(&byte).await;
                let _ = stream.flush().await;
            }
        }
    });
    let roots = verify::roots(bundle).expect("a bundle");
    let name = ServerName::try_from(NAME).expect("a name");
    client(roots).connect(name, near).await
}

async fn echoes(stream: &mut TlsStream<DuplexStream>) {
    stream.write_all(b"x").await.expect("sent");
    let mut byte = [0];
    stream.read_exact(&mut byte).await.expect("echoed");
}

/// A server through all phases of a rotation. Clients handshake all the time, each with the bundle
/// that it was told last or the one before; and one stays connected throughout.
#[tokio::test]
async fn no_handshake_fails_and_no_connection_ends_during_a_rotation() {
    let serving = Arc::new(Serving::default());
    let server = TlsAcceptor::from(serving.server_config(&[b"h2"]));
    let mut now = SystemTime::now();
    let mut stored = policy().create(now).expect("made");
    serving.set(stored.serving.as_ref().expect("serving").issued());
    let mut staying = connect(&server, &stored.bundle()).await.expect("accepted");
    let mut told = [stored.bundle(), stored.bundle()];
    let (mut rotations, end) = (0, now + Duration::from_secs(40));
    while now < end {
        for bundle in &told {
            let mut stream = connect(&server, bundle).await.expect("accepted");
            echoes(&mut stream).await;
        }
        echoes(&mut staying).await;
        // The CA is asked for anew with each step; between them nothing is due.
        now += Duration::from_secs(13);
        let asked = Some(crate::certificates::rotation::Asked::Authority);
        let advanced = policy()
            .advance(&stored, asked, true, now)
            .expect("advances");
        if let Some((next, _)) = advanced {
            // What a handshake meets: the bundle of before, and the certificate of after.
            serving.set(next.serving.as_ref().expect("serving").issued());
            told = [stored.bundle(), next.bundle()];
            stored = next;
            rotations += 1;
        }
    }
    assert_eq!(rotations, 4);
    let strange: Stored = policy().create(now).expect("made");
    assert!(connect(&server, &strange.bundle()).await.is_err());
}
