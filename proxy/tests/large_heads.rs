//! Clients that begin large heads and end none: they share a bounded memory, and others are served.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
};
use weir_tests::eventually::eventually;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Clients, each with a head just below what one may have: together more than all may.
const CLIENTS: usize = 80;
const HEAD: usize = 250 * 1024;
/// So many fit into 16 MiB.
const FIT: usize = 65;

const BOOTSTRAP: &str = r#"
static_resources:
  listeners:
  - name: in
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          max_request_headers_kb: 256
          route_config:
            virtual_hosts: [{ name: any, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

/// A proxy that stops when it is dropped.
struct Proxy {
    _server: Server,
    handle: Handle,
    address: SocketAddr,
}

impl Proxy {
    fn start() -> Self {
        let message = json::read_bootstrap(BOOTSTRAP).expect("YAML");
        let bootstrap = convert::bootstrap(message.clone()).expect("supported");
        let server = Server::start(&bootstrap, Options::new(message)).expect("a free port");
        let handle = server.handle();
        let socket = &handle.snapshot().listeners["in"].sockets[0];
        Self {
            address: socket.local_addr().expect("bound"),
            handle,
            _server: server,
        }
    }

    /// A client that has sent this.
    fn client(&self, sent: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).expect("listening");
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        client.write_all(sent).expect("sent");
        client
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// The status line of what comes.
fn status(client: &mut TcpStream) -> String {
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether something has come.
fn is_answered(client: &TcpStream) -> bool {
    client.set_nonblocking(true).expect("set");
    let peeked = client.peek(&mut [0]);
    client.set_nonblocking(false).expect("set");
    !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn large_heads_that_never_end_share_a_bounded_memory_and_others_are_served() {
    let proxy = Proxy::start();
    let begun = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}", "a".repeat(HEAD));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| proxy.client(begun.as_bytes()))
        .collect();
    let mut usual = proxy.client(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(status(&mut usual), "HTTP/1.1 200");
    // Whichever there was no room for are told so; the others wait for their end.
    let look = || {
        let answered = clients.iter().filter(|client| is_answered(client)).count();
        (answered == CLIENTS - FIT).then_some(())
    };
    eventually(PATIENCE, look).expect("refusals");
    let (mut refused, mut waiting): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_answered);
    for client in &mut refused {
        assert_eq!(status(client), "HTTP/1.1 431");
    }
    // One that ends its head is served, and its room is another's.
    waiting[0].write_all(b"\r\n\r\n").expect("sent");
    assert_eq!(status(&mut waiting[0]), "HTTP/1.1 200");
    let mut whole = proxy.client(format!("{begun}\r\n\r\n").as_bytes());
    assert_eq!(status(&mut whole), "HTTP/1.1 200");
}
