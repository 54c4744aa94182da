//! Fifty endpoints on addresses of their own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use weir_tests::{http::read_message, ports};

/// How many of each kind there are, in the order of their addresses: those that answer, that answer 503,
/// that never answer, and that refuse.
const KINDS: [u8; 4] = [20, 10, 10, 10];

/// What an endpoint does.
#[derive(Clone, Copy)]
enum Kind {
    Answers(&'static str),
    Hangs,
}

const OK: Kind = Kind::Answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
const UNAVAILABLE: Kind = Kind::Answers("HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n");

/// Addresses of all endpoints.
pub(crate) fn addresses() -> impl Iterator<Item = Ipv4Addr> {
    (1..=KINDS.iter().sum()).map(|last| Ipv4Addr::new(127, 0, 77, last))
}

/// Starts those that listen, for the rest of the process. Their port is that of all.
pub(crate) fn start() -> u16 {
    let port = ports::free().port();
    let [good, unavailable, silent, _] = KINDS.map(usize::from);
    let kinds = [
        vec![OK; good],
        vec![UNAVAILABLE; unavailable],
        vec![Kind::Hangs; silent],
    ];
    let listeners = addresses().zip(kinds.concat()).map(|(ip, kind)| {
        let listener = std::net::TcpListener::bind(SocketAddr::from((ip, port)));
        let listener = listener.expect("an address of our own");
        listener.set_nonblocking(true).expect("not blocking");
        (listener, kind)
    });
    let listeners: Vec<_> = listeners.collect();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let accepting = listeners.into_iter().map(|(listener, kind)| {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::spawn(accept(listener, kind))
            });
            for accepting in accepting.collect::<Vec<_>>() {
                let _ = accepting.await;
            }
        });
    });
    port
}

async fn accept(listener: TcpListener, kind: Kind) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, kind));
    }
}

async fn serve(mut stream: TcpStream, kind: Kind) {
    while read_message(&mut stream).await.is_some() {
        if let Kind::Answers(answer) = kind
            && stream.write_all(answer.as_bytes()).await.is_err()
        {
            return;
        }
    }
}
