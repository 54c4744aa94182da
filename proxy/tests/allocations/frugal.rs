//! Clients and endpoints that allocate nothing from round to round: bytes as they are on the wire.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Options, Server},
};

use crate::proxy::Proxy;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST: &[u8] =
    b"GET /path?query HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// `GET http / h`, by indices of HPACK's static table, with a literal `:authority`.
const REQUEST_BLOCK: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'h'];
/// `:status: 200`
const RESPONSE_BLOCK: &[u8] = &[0x88];

/// Serves connections on loopback until the process ends, each on a thread of its own.
pub(crate) fn serve(answer: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("accepted");
            stream.set_nodelay(true).expect("TCP");
            answer(stream);
        }
    });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_nodelay(true).expect("TCP");
    stream.set_read_timeout(Some(PATIENCE)).expect("TCP");
    stream
}

/// HTTP/1.1, one request after the other.
pub(crate) struct Http1(TcpStream);

impl Http1 {
    pub(crate) fn serve(mut stream: TcpStream) {
        thread::spawn(move || {
            let mut request = [0; 1024];
            let mut filled = 0;
            while let Ok(read @ 1..) = stream.read(&mut request[filled..]) {
                filled += read;
                if request[..filled].ends_with(b"\r\n\r\n") {
                    stream.write_all(RESPONSE).expect("answered");
                    filled = 0;
                }
            }
        });
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self(connect(address))
    }

    pub(crate) fn exchange(&mut self) {
        self.0.write_all(REQUEST).expect("sent");
        let (mut response, mut filled) = ([0; 1024], 0);
        while !response[..filled].ends_with(b"hello") {
            let read = self.0.read(&mut response[filled..]).expect("answered");
            assert!(read > 0, "the proxy closed");
            filled += read;
        }
    }
}

/// HTTP/2, one stream after the other, without bodies.
pub(crate) struct Http2 {
    stream: TcpStream,
    next: u32,
}

/// The head of a frame.
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Http2 {
    pub(crate) fn serve(mut stream: TcpStream) {
        thread::spawn(move || {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).expect("the preface");
            Frame::send(&mut stream, SETTINGS, 0, 0, &[]);
            while let Some(frame) = Frame::receive(&mut stream) {
                if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                    let flags = END_STREAM | END_HEADERS;
                    Frame::send(&mut stream, HEADERS, flags, frame.stream, RESPONSE_BLOCK);
                }
            }
        });
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut stream = connect(address);
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .expect("sent");
        Frame::send(&mut stream, SETTINGS, 0, 0, &[]);
        Self { stream, next: 1 }
    }

    pub(crate) fn exchange(&mut self) {
        let flags = END_STREAM | END_HEADERS;
        Frame::send(&mut self.stream, HEADERS, flags, self.next, REQUEST_BLOCK);
        loop {
            let frame = Frame::receive(&mut self.stream).expect("the connection stays open");
            if frame.stream == self.next && frame.flags & END_STREAM != 0 {
                break;
            }
        }
        self.next += 2;
    }
}

impl Frame {
    fn send(to: &mut TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = [0; 64];
        let length = u8::try_from(payload.len()).expect("short");
        frame[..5].copy_from_slice(&[0, 0, length, kind, flags]);
        frame[5..9].copy_from_slice(&stream.to_be_bytes());
        frame[9..9 + payload.len()].copy_from_slice(payload);
        to.write_all(&frame[..9 + payload.len()]).expect("sent");
    }

    /// Reads a frame, and answers it where the connection asks for that. None at the end.
    fn receive(from: &mut TcpStream) -> Option<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head).ok()?;
        let frame = Self {
            length: usize::from(head[1]) << 8 | usize::from(head[2]),
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        };
        let mut payload = [0; 4096];
        from.read_exact(&mut payload[..frame.length]).ok()?;
        match (frame.kind, frame.flags & ACK) {
            (SETTINGS, 0) => Self::send(from, SETTINGS, ACK, 0, &[]),
            (PING, 0) => Self::send(from, PING, ACK, 0, &payload[..frame.length]),
            _ => {}
        }
        Some(frame)
    }
}

/// Raw TCP: connect, a word each way, close.
pub(crate) struct Tcp;

impl Tcp {
    pub(crate) fn serve(mut stream: TcpStream) {
        let mut word = [0; 5];
        // A connection that was dialled and not used ends here.
        if stream.read_exact(&mut word).is_ok() {
            stream.write_all(&word).expect("answered");
        }
    }

    pub(crate) fn exchange(address: SocketAddr) {
        let mut stream = connect(address);
        stream.write_all(b"hello").expect("sent");
        let mut word = [0; 5];
        stream.read_exact(&mut word).expect("answered");
        assert_eq!(stream.read(&mut word).expect("the end"), 0);
    }
}

/// A data plane that proxies TCP to `endpoint`.
pub(crate) fn tcp_proxy(endpoint: SocketAddr) -> Proxy {
    let (ip, port) = (endpoint.ip(), endpoint.port());
    let yaml = format!(
        r#"static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config: {{
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
          stat_prefix: in, cluster: up }}
  clusters:
  - {{ name: up, type: STATIC, connect_timeout: 2s,
      load_assignment: {{ cluster_name: up, endpoints: [ {{ lb_endpoints: [
        {{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }} }}
      ] }} ] }} }}
"#
    );
    start(&yaml)
}

/// A data plane of this bootstrap.
pub(crate) fn start(yaml: &str) -> Proxy {
    let message = json::read_bootstrap(yaml).expect(yaml);
    let bootstrap = convert::bootstrap(message.clone()).expect(yaml);
    Proxy::of(Server::start(&bootstrap, Options::new(message)).expect("a free port"))
}
