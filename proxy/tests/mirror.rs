//! Copies of requests, on loopback: what comes to whoever is sent one, and that no client notices.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
    stats::Reading,
};
use weir_tests::http::read_message;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy that stops when it is dropped.
struct Proxy {
    _server: Server,
    handle: Handle,
}

impl Proxy {
    /// One that sends requests to `main` and copies as `policy` says, where `copies` is a cluster.
    fn start(main: SocketAddr, copies: SocketAddr, policy: &str, route: &str) -> Self {
        let cluster = |name: &str, at: SocketAddr| {
            format!(
                "{{ name: {name}, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: {name}, \
                 endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ \
                 address: {}, port_value: {} }} }} }} }} ] }} ] }} }}",
                at.ip(),
                at.port()
            )
        };
        let text = format!(
            r#"static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes: [ {{ match: {{ prefix: / }}, request_headers_to_add: [ {{ header: {{ key: x-of, value: route }} }} ],
                          route: {{ cluster: main, request_mirror_policies: [ {policy} ] {route} }} }} ]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters: [ {}, {} ]
"#,
            cluster("main", main),
            cluster("copies", copies)
        );
        let message = json::read_bootstrap(&text).expect(&text);
        let bootstrap = convert::bootstrap(message.clone()).expect(&text);
        let server = Server::start(&bootstrap, Options::new(message)).expect("a free port");
        Self {
            handle: server.handle(),
            _server: server,
        }
    }

    fn address(&self) -> SocketAddr {
        let snapshot = self.handle.snapshot();
        let socket = &snapshot.listeners["in"].sockets[0];
        socket.local_addr().expect("a bound socket")
    }

    /// The value of a counter of the connection manager.
    fn counted(&self, name: &str) -> u64 {
        let scopes = self.handle.registry().read();
        let of_manager = scopes.iter().filter(|scope| scope.scope.kind == "http");
        let mut values = of_manager.flat_map(|scope| &scope.values);
        match values.find(|value| value.name == name).expect(name).reading {
            Reading::Counter(value) => value,
            _ => panic!("{name} is no counter"),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// Requests that came to an endpoint, head and body.
type Seen = Arc<Mutex<Vec<String>>>;

/// An endpoint that answers with `answer`.
async fn endpoint(answer: &'static str) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let seen = Seen::default();
    let keep = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let keep = Arc::clone(&keep);
            tokio::spawn(async move {
                while let Some(request) = read_message(&mut connection).await {
                    keep.lock().expect("no panic").push(request);
                    if connection.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

async fn ask(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).await.expect("sent");
    let answer = timeout(PATIENCE, read_message(client)).await;
    answer.expect("in time").expect("an answer")
}

/// Waits until as many requests have come.
async fn until(seen: &Seen, many: usize) -> Vec<String> {
    let reached = async {
        while seen.lock().expect("no panic").len() < many {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("in time");
    seen.lock().expect("no panic").clone()
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OTHER: &str = "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";

#[tokio::test]
async fn copies_are_sent_whole_and_bear_the_name_of_a_copy() {
    let ((main, asked), (copies, copied)) = (endpoint(FINE).await, endpoint(OTHER).await);
    let policies = [
        ("{ cluster: copies }", "h-shadow:81"),
        (
            "{ cluster: copies, disable_shadow_host_suffix_append: true }",
            "h:81",
        ),
    ];
    let mut many = 0;
    for (policy, host) in policies {
        let proxy = Proxy::start(main, copies, policy, ", prefix_rewrite: /new/");
        let mut client = TcpStream::connect(proxy.address())
            .await
            .expect("listening");
        for request in [
            "GET /a?b HTTP/1.1\r\nHost: h:81\r\nX-Own: 1\r\n\r\n",
            "POST /a HTTP/1.1\r\nHost: h:81\r\nContent-Length: 5\r\n\r\nhello",
            "POST /a HTTP/1.1\r\nHost: h:81\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ] {
            let answer = ask(&mut client, request).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
                "{answer}"
            );
            many += 1;
            let (asked, copied) = (until(&asked, many).await, until(&copied, many).await);
            let (asked, copied) = (&asked[many - 1], copied[many - 1].to_lowercase());
            assert!(asked.to_lowercase().contains("host: h:81\r\n"), "{asked}");
            assert!(
                copied.contains(&format!("\r\nhost: {host}\r\n")),
                "{copied}"
            );
            assert!(copied.contains("\r\nx-of: route\r\n"), "{copied}");
            let line = |text: &str| text.lines().next().map(str::to_lowercase);
            assert_eq!(line(asked), line(&copied));
            let is_post = request.starts_with("POST");
            assert_eq!(copied.ends_with("\r\n\r\nhello"), is_post, "{copied}");
            assert_eq!(copied.contains("content-length: 5"), is_post, "{copied}");
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_copies_and_what_is_too_large_is_not_copied() {
    let ((main, asked), (copies, copied)) = (endpoint(FINE).await, endpoint(FINE).await);
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = silent.local_addr().expect("bound");
    let policies = "{ cluster: copies }";
    let proxy = Proxy::start(main, silent, policies, "");
    let mut client = TcpStream::connect(proxy.address())
        .await
        .expect("listening");
    for _ in 0..10 {
        let answer = ask(&mut client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(answer.ends_with("ok"), "{answer}");
    }
    assert_eq!(until(&asked, 10).await.len(), 10);

    let proxy = Proxy::start(main, copies, policies, "");
    let mut client = TcpStream::connect(proxy.address())
        .await
        .expect("listening");
    let large = "x".repeat(100_000);
    let request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{large}");
    let answer = ask(&mut client, &request).await;
    assert!(answer.ends_with("ok"), "{answer}");
    let small = "GET /small HTTP/1.1\r\nHost: h\r\n\r\n";
    ask(&mut client, small).await;
    let copied = until(&copied, 1).await;
    assert!(copied[0].starts_with("GET /small"), "{copied:?}");
    assert_eq!(proxy.counted("rq_mirror_skipped"), 1);
}
