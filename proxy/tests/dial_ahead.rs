//! Dialling ahead of detection, on loopback: it ends once the endpoint has answered in HTTP, also
//! where the TCP fallback goes to another cluster than the HTTP routes, and what was dialled for a
//! silent client serves no chain that leads elsewhere.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
    stats::Reading,
};
use weir_tests::{certificates::Authority, ports};

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

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

fn cluster(name: &str, endpoint: SocketAddr) -> String {
    let (ip, port) = (endpoint.ip(), endpoint.port());
    format!(
        "{{ name: {name}, type: STATIC, load_assignment: {{ cluster_name: {name}, endpoints: [ \
         {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: \
         {{ address: {ip}, port_value: {port} }} }} }} }} ] }} ] }} }}"
    )
}

fn bootstrap(endpoint: SocketAddr) -> String {
    let types = TYPES;
    let (web, raw) = (cluster("web", endpoint), cluster("raw", endpoint));
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
        Reading::Gauge(now) => u64::try_from(now).expect("not negative"),
        Reading::Histogram(_) => panic!("{name} is a histogram"),
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

fn start(bootstrap: &str) -> (Server, SocketAddr) {
    let message = json::read_bootstrap(bootstrap).expect("a bootstrap");
    let config = convert::bootstrap(message.clone()).expect("a bootstrap");
    let server = Server::start(&config, Options::new(message)).expect("a free port");
    let snapshot = server.handle().snapshot();
    let address = snapshot.listeners["in"].sockets[0].local_addr();
    (server, address.expect("a bound socket"))
}

#[test]
fn an_endpoint_that_answered_in_http_is_not_dialled_ahead_again() {
    let (server, address) = start(&bootstrap(endpoint()));
    let handle = server.handle();
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

/// TLS for `a.example` goes to cluster `a`, the rest to `raw`.
fn by_server_name(a: SocketAddr, raw: SocketAddr) -> String {
    let filters = |cluster: &str| {
        format!(
            "[ {{ name: tcp, typed_config: {{ \"@type\": {TYPES}.network.tcp_proxy.v3.TcpProxy, \
             stat_prefix: {cluster}, cluster: {cluster} }} }} ]"
        )
    };
    let (to_a, to_raw) = (filters("a"), filters("raw"));
    let (a, raw) = (cluster("a", a), cluster("raw", raw));
    format!(
        r#"static_resources:
  listeners:
  - name: in
    stat_prefix: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    continue_on_listener_filters_timeout: true
    listener_filters_timeout: 60s
    listener_filters:
    - name: envoy.filters.listener.tls_inspector
      typed_config: {{ "@type": {TYPES}.listener.tls_inspector.v3.TlsInspector }}
    filter_chains:
    - {{ filter_chain_match: {{ server_names: [a.example] }}, filters: {to_a} }}
    - {{ filters: {to_raw} }}
  clusters: [ {a}, {raw} ]
"#
    )
}

/// An endpoint that says its name once it has received something.
fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                if matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
                    let _ = stream.write_all(name.as_bytes());
                }
            });
        }
    });
    address
}

/// A ClientHello that names `server` and nothing else.
fn client_hello(server: &str) -> Vec<u8> {
    let vector16 = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("short").to_be_bytes();
        [&length[..], bytes].concat()
    };
    let names = vector16(&[&[0][..], &vector16(server.as_bytes())].concat());
    let extensions = vector16(&[&[0, 0][..], &vector16(&names)].concat());
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &extensions,
    ]
    .concat();
    let message = [&[1, 0][..], &vector16(&body)].concat();
    [&[0x16, 3, 1][..], &vector16(&message)].concat()
}

#[test]
fn a_late_client_hello_reaches_the_cluster_of_its_chain() {
    // Where nobody listens: the dial ahead fails.
    let refusing = ports::free();
    for raw in [named("raw"), refusing] {
        let (server, address) = start(&by_server_name(named("a"), raw));
        let handle = server.handle();
        for connection in 1..=3 {
            let mut client = TcpStream::connect(address).expect("connect");
            wait("dialled ahead", || match raw == refusing {
                true => counter(&handle, RAW, "upstream_cx_connect_fail") == connection,
                false => counter(&handle, RAW, "upstream_cx_active") == 1,
            });
            client.write_all(&client_hello("a.example")).expect("hello");
            let mut answer = String::new();
            let read = client.read_to_string(&mut answer);
            assert_eq!((answer.as_str(), read.is_ok()), ("a", true));
        }
        handle.stop();
    }
}

/// An endpoint that speaks first.
fn greeter() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.write_all(b"hello");
                let _ = stream.read(&mut [0; 1024]);
            });
        }
    });
    address
}

/// Clients of TLS are served beside all others.
fn permissive(raw: SocketAddr) -> String {
    let filters = format!(
        "[ {{ name: tcp, typed_config: {{ \"@type\": {TYPES}.network.tcp_proxy.v3.TcpProxy, \
         stat_prefix: raw, cluster: raw }} }} ]"
    );
    let certificate = Authority::new("a").issue(&["a.example"]);
    let context = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": { "tls_certificates": [{
            "certificate_chain": { "inline_string": certificate.chain },
            "private_key": { "inline_string": certificate.key },
        }]},
    });
    let raw = cluster("raw", raw);
    format!(
        r#"static_resources:
  listeners:
  - name: in
    stat_prefix: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    continue_on_listener_filters_timeout: true
    listener_filters_timeout: 0s
    listener_filters:
    - name: envoy.filters.listener.tls_inspector
      typed_config: {{ "@type": {TYPES}.listener.tls_inspector.v3.TlsInspector }}
    filter_chains:
    - filter_chain_match: {{ transport_protocol: tls }}
      filters: {filters}
      transport_socket: {{ name: tls, typed_config: {context} }}
    default_filter_chain: {{ filters: {filters} }}
  clusters: [ {raw} ]
"#
    )
}

#[test]
fn a_server_that_speaks_first_is_held_for_a_hello_that_is_on_its_way() {
    let (server, address) = start(&permissive(greeter()));
    let handle = server.handle();
    let held = |count| {
        wait("held", || {
            counter(&handle, IN, "server_first_held") == count
        });
    };
    let first = |mut client: TcpStream| {
        let mut first = [0];
        client.read_exact(&mut first).expect("a byte");
        first[0]
    };
    let client = TcpStream::connect(address).expect("connect");
    assert_eq!(first(client), b'h', "a client that is silent is greeted");
    held(1);

    let mut client = TcpStream::connect(address).expect("connect");
    held(2);
    client.write_all(&client_hello("a.example")).expect("hello");
    // A record of TLS: the hello of this test is not one that leads to a handshake.
    assert!([0x15, 0x16].contains(&first(client)));
    assert_eq!(counter(&handle, IN, "detected_server_first"), 1);
    handle.stop();
}
