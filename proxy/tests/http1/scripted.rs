//! An endpoint whose every byte the test decides.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
};

pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        Self {
            address: listener.local_addr().expect("bound"),
            listener,
        }
    }

    pub(crate) async fn accept(&mut self) -> TcpStream {
        self.listener.accept().await.expect("a connection").0
    }
}

/// Reads to the end of a head, and not a byte further.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("more of the head"));
    }
    String::from_utf8(head).expect("text")
}
