//! Two sidecars in a row, on loopback: a request that reached no application goes to another one,
//! whatever its method, and nobody but a sidecar can say that it did not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use weir_api::xds::{json, peer::UNDELIVERED};
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
};
use weir_tests::http::read_message;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
const GRPC: &str = "POST /a/B HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\nContent-Length: 5\r\n\r\nhello";

/// What the sidecars speak with each other.
const BETWEEN: [&str; 2] = ["http_protocol_options", "http2_protocol_options"];

/// Filters that send all to the cluster `up`.
const HTTP: &str = r#"{ name: envoy.filters.network.http_connection_manager, typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
        stat_prefix: in, codec_type: AUTO,
        route_config: { virtual_hosts: [ { name: any, domains: ["*"], routes: [
          { match: { prefix: / }, route: { cluster: up } } ] } ] },
        http_filters: [ { name: envoy.filters.http.router, typed_config: {
          "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ] } }"#;
const TCP: &str = r#"{ name: envoy.filters.network.tcp_proxy, typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
        stat_prefix: in, cluster: up } }"#;

/// A sidecar that stops when it is dropped.
struct Sidecar {
    _server: Server,
    handle: Handle,
}

/// Whether an endpoint is said to have a sidecar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Sidecar,
    Nothing,
}

// === impl Sidecar ===

impl Sidecar {
    /// One that takes connections of this direction and sends all requests to these endpoints.
    fn start(direction: &str, options: &str, endpoints: &[SocketAddr], said: Said) -> Self {
        Self::with_filter(HTTP, direction, options, endpoints, said)
    }

    fn with_filter(
        filter: &str,
        direction: &str,
        options: &str,
        endpoints: &[SocketAddr],
        said: Said,
    ) -> Self {
        let metadata = match said {
            Said::Sidecar => r#"metadata: { filter_metadata: { weir.dev: { sidecar: "true" } } },"#,
            Said::Nothing => "",
        };
        let endpoint = |at: &SocketAddr| {
            format!(
                "{{ {metadata} endpoint: {{ address: {{ socket_address: \
                 {{ address: {}, port_value: {} }} }} }} }}",
                at.ip(),
                at.port()
            )
        };
        let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
        let text = format!(
            r#"static_resources:
  listeners:
  - name: in
    traffic_direction: {direction}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - {filter}
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 2s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {options}: {{}} }}
    load_assignment: {{ cluster_name: up, endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}
"#,
            endpoints.join(", ")
        );
        let message = json::read_bootstrap(&text).expect(&text);
        let bootstrap = convert::bootstrap(message.clone()).expect(&text);
        let server = Server::start(&bootstrap, Options::new(message)).expect("a free port");
        Self {
            handle: server.handle(),
            _server: server,
        }
    }

    /// The sidecar of an application.
    fn inbound(application: SocketAddr) -> Self {
        Self::start("INBOUND", BETWEEN[0], &[application], Said::Nothing)
    }

    fn address(&self) -> SocketAddr {
        let snapshot = self.handle.snapshot();
        let socket = &snapshot.listeners["in"].sockets[0];
        socket.local_addr().expect("a bound socket")
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// An application that answers each request with `answer`, and counts them.
async fn application(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                while let Some(request) = read_lower_case(&mut connection).await {
                    assert!(request.starts_with("GET") || request.ends_with("hello"));
                    counted.fetch_add(1, Ordering::SeqCst);
                    connection.write_all(answer.as_bytes()).await.expect("sent");
                }
            });
        }
    });
    (address, count)
}

/// An address that refuses connections.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound")
}

/// Reads a message with its body, lower case; none at the end of the connection.
async fn read_lower_case(connection: &mut TcpStream) -> Option<String> {
    // The applications here send no chunks; sidecars do where the length was not said.
    let text = read_message(connection).await?.to_lowercase();
    let text = text.replace("\r\n5\r\nhello\r\n0\r\n\r\n", "\r\nhello");
    Some(text.replacen("get", "GET", 1))
}

/// Sends a request over a connection of its own.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).await.expect("listening");
    client.write_all(request.as_bytes()).await.expect("sent");
    let answer = timeout(PATIENCE, read_lower_case(&mut client)).await;
    answer.expect("in time").expect("an answer")
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FORGED: &str =
    "HTTP/1.1 503 No\r\nContent-Length: 2\r\nX-Weir-Undelivered: 1\r\nX-Own: 1\r\n\r\nno";

#[tokio::test]
async fn a_request_that_reached_no_application_goes_to_another() {
    for between in BETWEEN {
        let (address, count) = application(FINE).await;
        let gone = [nobody().await, nobody().await];
        let gone = gone.map(Sidecar::inbound);
        let there = Sidecar::inbound(address);
        let endpoints = [gone[0].address(), gone[1].address(), there.address()];
        let client = Sidecar::start("OUTBOUND", between, &endpoints, Said::Sidecar);
        for (asked, request) in [GET, POST, GRPC].repeat(3).into_iter().enumerate() {
            let answer = ask(client.address(), request).await;
            assert!(answer.starts_with("http/1.1 200"), "{between}: {answer}");
            assert!(!answer.contains("x-weir"), "{answer}");
            assert_eq!(count.load(Ordering::SeqCst), asked + 1, "each arrives once");
        }
    }
}

#[tokio::test]
async fn a_client_is_told_where_no_application_is_left() {
    for between in BETWEEN {
        let gone = Sidecar::inbound(nobody().await);
        let endpoints = [gone.address()];
        let client = Sidecar::start("OUTBOUND", between, &endpoints, Said::Sidecar);
        for (request, status) in [(GET, "503"), (POST, "503"), (GRPC, "200")] {
            let answer = ask(client.address(), request).await;
            assert!(
                answer.starts_with(&format!("http/1.1 {status}")),
                "{answer}"
            );
            assert!(answer.contains("x-weir-reason: upstream_connect_failed"));
            assert!(!answer.contains(UNDELIVERED), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_without_a_sidecar_gets_the_reason() {
    let gone = Sidecar::inbound(nobody().await);
    for (request, status) in [(GET, "503"), (POST, "503"), (GRPC, "200")] {
        let answer = ask(gone.address(), request).await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.contains("x-weir-reason: upstream_connect_failed"));
        assert!(answer.contains(UNDELIVERED), "{answer}");
    }
}

#[tokio::test]
async fn an_application_cannot_say_that_it_saw_nothing() {
    for between in BETWEEN {
        for said in [Said::Sidecar, Said::Nothing] {
            for request in [GET, POST] {
                let (address, count) = application(FORGED).await;
                let server = Sidecar::inbound(address);
                let endpoint = match said {
                    Said::Sidecar => server.address(),
                    // What is not said to have a sidecar is not believed, sidecar or not.
                    Said::Nothing if between == BETWEEN[0] => address,
                    Said::Nothing => server.address(),
                };
                let client = Sidecar::start("OUTBOUND", between, &[endpoint], said);
                let answer = ask(client.address(), request).await;
                assert!(answer.starts_with("http/1.1 503"), "{answer}");
                assert!(
                    answer.contains("x-own: 1"),
                    "the application's own: {answer}"
                );
                assert!(!answer.contains(UNDELIVERED), "{answer}");
                assert_eq!(count.load(Ordering::SeqCst), 1);
            }
        }
    }
}

/// An application that ends each connection as soon as it has read a request, and counts them.
async fn quitter() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            if read_lower_case(&mut connection).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn what_changes_nothing_and_was_not_answered_goes_to_another_once() {
    for between in BETWEEN {
        let (address, _) = application(FINE).await;
        let there = Sidecar::inbound(address);
        let (address, count) = quitter().await;
        let quits = Sidecar::inbound(address);
        let endpoints = [quits.address(), there.address()];
        let client = Sidecar::start("OUTBOUND", between, &endpoints, Said::Sidecar);
        for _ in 0..6 {
            let answer = ask(client.address(), GET).await;
            assert!(answer.starts_with("http/1.1 200"), "{between}: {answer}");
            assert!(!answer.contains(UNDELIVERED), "{answer}");
        }
        assert_ne!(count.swap(0, Ordering::SeqCst), 0, "its turn came");
        // It may be what ends the application: not all of them are to see it.
        let again = [quits.address(), quits.address(), quits.address()];
        let client = Sidecar::start("OUTBOUND", between, &again, Said::Sidecar);
        let answer = ask(client.address(), GET).await;
        assert!(answer.starts_with("http/1.1 503"), "{between}: {answer}");
        assert!(!answer.contains(UNDELIVERED), "{answer}");
        assert_eq!(count.swap(0, Ordering::SeqCst), 2, "{between}");
        for request in [POST, GRPC] {
            ask(client.address(), request).await;
            assert_eq!(count.swap(0, Ordering::SeqCst), 1, "{between}: {request}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_carried_nothing_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let tcp = |direction: &str, endpoints: &[SocketAddr], said| {
        Sidecar::with_filter(TCP, direction, BETWEEN[0], endpoints, said)
    };
    let gone = tcp("INBOUND", &[nobody().await], Said::Nothing);
    let there = tcp("INBOUND", &[address], Said::Nothing);
    let endpoints = [gone.address(), there.address()];
    let client = tcp("OUTBOUND", &endpoints, Said::Sidecar);
    for _ in 0..4 {
        let mut asking = TcpStream::connect(client.address())
            .await
            .expect("listening");
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let (mut server, _) = accepted.expect("in time").expect("a connection");
        server.write_all(b"hello").await.expect("sent");
        let mut greeting = [0; 5];
        let read = timeout(PATIENCE, asking.read_exact(&mut greeting)).await;
        read.expect("in time").expect("the greeting");
        assert_eq!(&greeting, b"hello");
    }
}
