//! Peers of the proxy, whatever version of HTTP they speak.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
};

use crate::{
    case::{Script, Step},
    http1::{Http1, Side},
    http2::Http2,
    seen::{self, Seen},
};

/// A connection.
pub(crate) enum Peer {
    Http1(Http1),
    Http2(Box<Http2>),
}

/// An endpoint that plays its script for each request of each connection.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// What came on each connection.
    connections: Rc<RefCell<Vec<Came>>>,
    /// Connections that are open.
    open: watch::Sender<usize>,
}

/// Messages, and the bytes they were read from.
#[derive(Default)]
struct Came {
    seen: Vec<Seen>,
    raw: String,
}

pub(crate) fn speaks_http2(script: Script) -> bool {
    !script.iter().any(|step| matches!(step, Step::Bytes(_)))
}

/// Connects a client that is about to play `script`.
pub(crate) async fn connect(address: SocketAddr, script: Script) -> Peer {
    let stream = TcpStream::connect(address).await;
    let stream = stream.expect("the proxy listens");
    match speaks_http2(script) {
        true => Peer::Http2(Box::new(Http2::client(stream).await)),
        false => {
            let asks_head = |step: &Step| matches!(step, Step::Bytes(b) if b.starts_with("HEAD "));
            let head = script.iter().any(asks_head);
            Peer::Http1(Http1::new(stream, Side::Client { head }))
        }
    }
}

// === impl Peer ===

impl Peer {
    pub(crate) async fn play(&mut self, script: Script) {
        match self {
            Self::Http1(peer) => peer.play(script).await,
            Self::Http2(peer) => peer.play(script).await,
        }
    }

    async fn read(&mut self) -> bool {
        match self {
            Self::Http1(peer) => peer.read().await,
            Self::Http2(peer) => peer.read().await,
        }
    }

    /// Reads until the requests are answered, or the connection ends.
    pub(crate) async fn until_answered(&mut self) {
        while !self.is_answered() && !self.is_closed() && self.read().await {}
    }

    /// Reads until the connection ends.
    pub(crate) async fn until_closed(&mut self) {
        while !self.is_closed() && self.read().await {}
    }

    fn is_answered(&self) -> bool {
        match self {
            Self::Http1(peer) => {
                let over = |seen: &Seen| seen.end.is_some() && !seen.is_informational();
                peer.seen().iter().any(over)
            }
            Self::Http2(peer) => peer.is_answered(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(peer) => peer.is_closed(),
            Self::Http2(peer) => peer.is_closed(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        match self {
            Self::Http1(peer) => peer.seen(),
            Self::Http2(peer) => peer.seen(),
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        seen::lines(&self.seen())
    }

    /// What was read, as text; empty for HTTP/2.
    pub(crate) fn raw(&self) -> String {
        match self {
            Self::Http1(peer) => peer.raw(),
            Self::Http2(_) => String::new(),
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) async fn start(script: Script) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let endpoint = Self {
            address: socket.local_addr().expect("bound"),
            connections: Rc::default(),
            open: watch::Sender::new(0),
        };
        let (connections, open) = (Rc::clone(&endpoint.connections), endpoint.open.clone());
        spawn_local(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let index = connections.borrow().len();
                connections.borrow_mut().push(Came::default());
                let (connections, open) = (Rc::clone(&connections), open.clone());
                open.send_modify(|open| *open += 1);
                spawn_local(async move {
                    serve(stream, script, |peer| {
                        connections.borrow_mut()[index] = Came {
                            seen: peer.seen(),
                            raw: peer.raw(),
                        };
                        open.send_modify(|_| {});
                    })
                    .await;
                    open.send_modify(|open| *open -= 1);
                });
            }
        });
        endpoint
    }

    /// Ready when no connection is open.
    pub(crate) async fn until_closed(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Ready when a request has ended, one way or another.
    pub(crate) async fn until_ended(&self) {
        let have = || {
            let connections = self.connections.borrow();
            let mut seen = connections.iter().flat_map(|came| &came.seen);
            seen.any(|seen| seen.end.is_some())
        };
        let _ = self.open.subscribe().wait_for(|_| have()).await;
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let connections = self.connections.borrow();
        seen::lines(connections.iter().flat_map(|came| &came.seen))
    }

    pub(crate) fn raw(&self) -> String {
        let connections = self.connections.borrow();
        connections.iter().map(|came| came.raw.as_str()).collect()
    }
}

/// Serves a connection until it ends. `note` is told of what has come.
async fn serve(stream: TcpStream, script: Script, note: impl Fn(&Peer)) {
    let mut peer = match speaks_http2(script) {
        true => Peer::Http2(Box::new(Http2::endpoint(stream).await)),
        false => Peer::Http1(Http1::new(stream, Side::Endpoint)),
    };
    let at_head = matches!(script.first(), Some(Step::AtHead));
    let mut answered = 0;
    while peer.read().await {
        note(&peer);
        match &mut peer {
            Peer::Http2(peer) => peer.answer(script, at_head).await,
            Peer::Http1(peer) => {
                let come = |seen: &&Seen| match at_head {
                    true => !seen.start.starts_with("part of a head"),
                    false => seen.end.as_deref() == Some("whole"),
                };
                let requests = peer.seen().iter().filter(come).count();
                while answered < requests && !peer.is_closed() {
                    answered += 1;
                    peer.play(script).await;
                }
            }
        }
        if peer.is_closed() {
            break;
        }
    }
    note(&peer);
}
