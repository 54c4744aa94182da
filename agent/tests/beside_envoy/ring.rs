//! RING_HASH by the client's address beside real Envoy: each client comes to one endpoint, the same
//! through both, whether it speaks HTTP/1, HTTP/2 or neither.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use weir_tests::envoy;

use crate::proxies::{Ports, Proxy};

const BOOTSTRAP: &str = r#"
admin:
  address: { socket_address: { address: 127.0.0.1, port_value: @ADMIN@ } }
static_resources:
  listeners:
  - name: ring
    address: { socket_address: { address: 127.0.0.1, port_value: @LISTENER@ } }
    listener_filters:
    - name: envoy.filters.listener.http_inspector
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector }
    filter_chains:
    - name: http
      filter_chain_match: { application_protocols: ["http/1.1", h2c] }
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          # The address of the connection counts, whatever a header says.
          use_remote_address: true
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: / }
                route: { cluster: ring, hash_policy: [{ connection_properties: { source_ip: true } }] }
    default_filter_chain:
      name: tcp
      filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: ring
          hash_policy: [{ source_ip: {} }]
  clusters:
  - name: ring
    type: STATIC
    connect_timeout: 1s
    lb_policy: RING_HASH
    load_assignment: { cluster_name: ring, endpoints: [{ lb_endpoints: [@ENDPOINTS@] }] }
"#;

/// An endpoint that says its name to whoever speaks, over HTTP or not.
fn endpoint(name: usize, weight: u32, key: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut first = [0; 4096];
            let Ok(read) = stream.read(&mut first) else {
                continue;
            };
            let is_http = first[..read].starts_with(b"GET ");
            let answer = match is_http {
                true => format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{name}"
                ),
                false => name.to_string(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let metadata = match key {
        "" => String::new(),
        key => format!("metadata: {{ filter_metadata: {{ envoy.lb: {{ hash_key: {key} }} }} }}, "),
    };
    format!(
        "{{ {metadata}load_balancing_weight: {weight}, endpoint: {{ address: {{ socket_address: {{ \
         address: 127.0.0.1, port_value: {port} }} }} }} }}"
    )
}

/// Who answers a client at this address.
fn ask(port: u16, client: u8, words: &str) -> char {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source = SocketAddr::from(([127, 0, 0, client], 0));
    socket.bind(&source.into()).expect("an address of loopback");
    let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.connect(&proxy.into()).expect("the proxy listens");
    let mut stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream.write_all(words.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        !words.starts_with("GET") || answer.starts_with("HTTP/1.1 200"),
        "{answer}"
    );
    answer.chars().last().expect("a name")
}

#[test]
fn each_client_comes_to_one_endpoint_the_same_through_both() {
    if !envoy::available() {
        return;
    }
    // No method begins like this.
    const TCP: &str = "\u{1}hello\r\n";
    let http =
        "GET / HTTP/1.1\r\nhost: ring\r\nconnection: close\r\nx-forwarded-for: 9.9.9.9\r\n\r\n";
    for (weights, keys) in [
        ([1, 1, 1, 1], ["", "", "", ""]),
        ([3, 1, 1, 1], ["a", "b", "c", "d"]),
    ] {
        let endpoints: Vec<_> = (0..)
            .zip(weights)
            .zip(keys)
            .map(|((name, weight), key)| endpoint(name, weight, key))
            .collect();
        let bootstrap = BOOTSTRAP.replace("@ENDPOINTS@", &endpoints.join(", "));
        let envoy = Proxy::envoy(&bootstrap, Ports::free());
        let weir = Proxy::weir(&bootstrap, Ports::free());
        let mut seen = BTreeSet::new();
        for client in 2..34 {
            let through_envoy = ask(envoy.port(false, false), client, http);
            seen.insert(through_envoy);
            for words in [http, TCP, http, TCP] {
                assert_eq!(
                    ask(weir.port(false, false), client, words),
                    through_envoy,
                    "127.0.0.{client}"
                );
            }
            assert_eq!(ask(envoy.port(false, false), client, TCP), through_envoy);
        }
        assert!(seen.len() > 1, "clients are spread: {seen:?}");
    }
}
