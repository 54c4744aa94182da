//! Dialling ahead of detection, on loopback: it ends once the endpoint has answered in HTTP, also
//! where the TCP fallback goes to another cluster than the HTTP routes.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use weir_api::xds::json;
use weir_proxy::{
    config::convert,
    server::{Handle, Options, Server},
    stats::Reading,
};

const RAW: (&str, &str) = ("cluster", "raw");
const IN: (&str, &str) = ("listener", "in");

/// An endpoint that answers every request, each connection on a thread that ends with it.
fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut head = [0; 1024];
                while matches!(stream.read(&mut head), Ok(1..)) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                    stream.write_all(answer).expect("answer");
                }
            });
        }
    });
    address
}

fn bootstrap(endpoint: SocketAddr) -> String {
    let (ip, port) = (endpoint.ip(), endpoint.port());
    let types = "type.googleapis.com/envoy.extensions.filters";
    let cluster = |name: &str| {
        format!(
            "{{ name: {name}, type: STATIC, load_assignment: {{ cluster_name: {name}, endpoints: [ \
             {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: \
             {{ address: {ip}, port_value: {port} }} }} }} }} ] }} ] }} }}"
        )
    };
    let (web, raw) = (cluster("web"), cluster("raw"));
    format!(
        r#"static_resources:
  listeners:
  - name: in
    stat_prefix: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    continue_on_listener_filters_timeout: true
    listener_filters_timeout: 0s
    listener_filters:
    - name: envoy.filters.listener.http_inspector
      typed_config: {{ "@type": {types}.listener.http_inspector.v3.HttpInspector }}
    filter_chains:
    - filter_chain_match: {{ application_protocols: [http/1.1] }}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {types}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: {{ virtual_hosts: [ {{ name: any, domains: ["*"], routes: [
            {{ match: {{ prefix: / }}, route: {{ cluster: web }} }} ] }} ] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {types}.http.router.v3.Router }}
    default_filter_chain:
      filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": {types}.network.tcp_proxy.v3.TcpProxy
          stat_prefix: raw
          cluster: raw
  clusters: [ {web}, {raw} ]
"#
    )
}

fn counter(handle: &Handle, scope: (&str, &str), name: &str) -> u64 {
    let scopes = handle.registry().read();
    let scope = scopes
        .iter()
        .find(|reading| (reading.scope.kind, &*reading.scope.name) == scope);
    // The worker registers its sets when it has started.
    let Some(scope) = scope else { return 0 };
    let mut values = scope.values.iter();
    match values.find(|value| value.name == name).expect(name).reading {
        Reading::Counter(count) => count,
        _ => panic!("{name} is no counter"),
    }
}

/// Runs until `reached`.
fn wait(what: &str, reached: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !reached() {
        assert!(start.elapsed().as_secs() < 20, "{what}");
        thread::yield_now();
    }
}

#[test]
fn an_endpoint_that_answered_in_http_is_not_dialled_ahead_again() {
    let message = json::read_bootstrap(&bootstrap(endpoint())).expect("a bootstrap");
    let config = convert::bootstrap(message.clone()).expect("a bootstrap");
    let server = Server::start(&config, Options::new(message)).expect("a free port");
    let handle = server.handle();
    let snapshot = handle.snapshot();
    let address = snapshot.listeners["in"].sockets[0].local_addr();
    let address = address.expect("a bound socket");
    for connection in 1..=3 {
        let mut client = TcpStream::connect(address).expect("connect");
        // The client has said nothing when detection begins.
        wait("accepted", || {
            counter(&handle, IN, "downstream_cx_total") == connection
        });
        if connection == 1 {
            let ahead = || counter(&handle, RAW, "upstream_cx_total");
            wait("dialled ahead", || ahead() == 1);
        }
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(request).expect("request");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("answer");
        assert!(answer.ends_with("hi"), "{answer}");
        wait("closed", || {
            counter(&handle, IN, "downstream_cx_destroy") == connection
        });
    }
    assert_eq!(counter(&handle, RAW, "upstream_cx_total"), 1);
    handle.stop();
}
