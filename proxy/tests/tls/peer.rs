//! Peers that speak TLS: rustls by itself, with its own record layer.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use weir_tests::certificates::{Authority, Certificate};

/// A client in the making.
#[derive(Clone)]
pub(crate) struct Client {
    config: ClientConfig,
    name: String,
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM");
    roots.add(root).expect("a root");
    Arc::new(roots)
}

fn chain(certificate: &Certificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes());
    (chain.map(Result::unwrap).collect(), key.expect("PEM"))
}

// === impl Client ===

impl Client {
    /// Trusts `authority`, and asks for `name`.
    pub(crate) fn new(authority: &Authority, name: &str) -> Self {
        let config = ClientConfig::builder_with_protocol_versions(&[&TLS13, &TLS12])
            .with_root_certificates(roots(authority))
            .with_no_client_auth();
        Self {
            config,
            name: name.to_owned(),
        }
    }

    /// Shows a certificate.
    pub(crate) fn with(mut self, authority: &Authority, certificate: &Certificate) -> Self {
        let (chain, key) = chain(certificate);
        self.config = ClientConfig::builder()
            .with_root_certificates(roots(authority))
            .with_client_auth_cert(chain, key)
            .expect("a key");
        self
    }

    /// Speaks TLS 1.2 alone.
    pub(crate) fn tls12(mut self, authority: &Authority) -> Self {
        self.config = ClientConfig::builder_with_protocol_versions(&[&TLS12])
            .with_root_certificates(roots(authority))
            .with_no_client_auth();
        self
    }

    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        self.config.alpn_protocols = protocols.collect();
        self
    }

    /// A connection without a socket.
    pub(crate) fn connection(&self) -> ClientConnection {
        let name = ServerName::try_from(self.name.clone()).expect("a name");
        ClientConnection::new(Arc::new(self.config.clone()), name).expect("a connection")
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await?;
        let name = ServerName::try_from(self.name.clone()).expect("a name");
        TlsConnector::from(Arc::new(self.config.clone()))
            .connect(name, socket)
            .await
    }
}

/// A server: what it says of the client is its to tell.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

// === impl Server ===

impl Server {
    /// `clients`: whom it wants a certificate of.
    pub(crate) async fn start(
        certificate: &Certificate,
        clients: Option<&Authority>,
        protocols: &[&str],
    ) -> Self {
        let builder = ServerConfig::builder();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder(roots(authority)).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let (chain, key) = chain(certificate);
        let mut config = builder.with_single_cert(chain, key).expect("a key");
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        Self {
            address: listener.local_addr().expect("bound"),
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<server::TlsStream<TcpStream>> {
        let (socket, _) = self.listener.accept().await?;
        self.acceptor.accept(socket).await
    }

    /// Answers each request with its head, in a task of its own. Returns the names that its
    /// clients ask for, one a connection.
    pub(crate) fn answer_with_heads(self) -> Rc<RefCell<Vec<String>>> {
        let names = Rc::<RefCell<Vec<String>>>::default();
        let seen = Rc::clone(&names);
        tokio::task::spawn_local(async move {
            loop {
                if let Ok(stream) = self.accept().await {
                    let name = stream.get_ref().1.server_name().unwrap_or_default();
                    seen.borrow_mut().push(name.to_owned());
                    tokio::task::spawn_local(answer_with_heads(stream));
                }
            }
        });
        names
    }
}

/// Echoes until the client has ended, and ends.
pub(crate) async fn echo(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(n) if stream.write_all(&bytes[..n]).await.is_err() => break,
            Ok(_) => {}
        }
    }
    let _ = stream.shutdown().await;
}

/// An endpoint without TLS that echoes.
pub(crate) async fn plain_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::task::spawn_local(echo(socket));
        }
    });
    address
}

/// An endpoint without TLS that answers each request with its head.
pub(crate) async fn heads() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::task::spawn_local(answer_with_heads(socket));
        }
    });
    address
}

/// Answers each request of a connection with its head.
pub(crate) async fn answer_with_heads(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            let status = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
            let answer = [status.as_bytes(), &std::mem::take(&mut head)].concat();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
