//! A panic within one connection, on loopback: that one ends, and nothing else does.
//!
//! What panics is the subscriber of logs: it does so when an endpoint on a forbidden port cannot
//! be reached, which is said deep within a request, while the connection holds what it can.

use std::{
    fmt,
    future::pending,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
    stats::Reading,
};
use weir_tests::ports;

/// Nobody listens there.
static FORBIDDEN: OnceLock<SocketAddr> = OnceLock::new();

/// A subscriber that panics when the forbidden endpoint is named.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Panics);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Panics {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let forbidden = FORBIDDEN.get().map(SocketAddr::to_string);
        let named = field.name() == "host" && Some(format!("{value:?}")) == forbidden;
        assert!(!named, "deliberate");
    }
}

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
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn bootstrap(endpoint: SocketAddr, forbidden: SocketAddr) -> String {
    let types = "type.googleapis.com/envoy.extensions.filters";
    let listener = |name: &str, filter: &str| {
        format!(
            "{{ name: {name}, stat_prefix: {name}, address: {{ socket_address: \
             {{ address: 127.0.0.1, port_value: 0 }} }}, filter_chains: [ {{ filters: [ {filter} ] }} ] }}"
        )
    };
    let cluster = |name: &str, address: SocketAddr| {
        format!(
            "{{ name: {name}, type: STATIC, load_assignment: {{ cluster_name: {name}, endpoints: [ \
             {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: \
             {{ address: {}, port_value: {} }} }} }} }} ] }} ] }} }}",
            address.ip(),
            address.port()
        )
    };
    let http = format!(
        r#"{{ name: http, typed_config: {{ "@type": {types}.network.http_connection_manager.v3.HttpConnectionManager,
          stat_prefix: http,
          route_config: {{ virtual_hosts: [ {{ name: any, domains: ["*"], routes: [
            {{ match: {{ prefix: /panic }}, route: {{ cluster: forbidden }} }},
            {{ match: {{ prefix: / }}, route: {{ cluster: web }} }} ] }} ] }},
          http_filters: [ {{ name: router, typed_config: {{ "@type": {types}.http.router.v3.Router }} }} ] }} }}"#
    );
    let tcp = |cluster: &str| {
        format!(
            r#"{{ name: tcp, typed_config: {{ "@type": {types}.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: {cluster} }} }}"#
        )
    };
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}\n\
         static_resources:\n  listeners: [ {}, {}, {} ]\n  clusters: [ {}, {} ]\n",
        listener("http", &http),
        listener("tcp", &tcp("web")),
        listener("doomed", &tcp("forbidden")),
        cluster("web", endpoint),
        cluster("forbidden", forbidden),
    )
}

fn gauge(handle: &Handle, scope: (&str, &str), name: &str) -> i64 {
    let scopes = handle.registry().read();
    let scope = scopes
        .iter()
        .find(|reading| (reading.scope.kind, &*reading.scope.name) == scope)
        .expect("the scope");
    let mut values = scope.values.iter();
    match values.find(|value| value.name == name).expect(name).reading {
        Reading::Gauge(now) => now,
        _ => panic!("{name} is no gauge"),
    }
}

/// Runs until `reached`.
fn wait(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        thread::yield_now();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the proxy listens");
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("a timeout");
    stream
}

/// Sends a request and reads up to the end of the body `hi`; what came if there was none.
fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let (mut answer, mut byte) = (String::new(), [0]);
    while !answer.ends_with("\r\n\r\nhi") && matches!(stream.read(&mut byte), Ok(1)) {
        answer.push(char::from(byte[0]));
    }
    answer
}

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    tracing::subscriber::set_global_default(Panics).expect("the only one");
    let forbidden = ports::free();
    FORBIDDEN.set(forbidden).expect("once");

    let message = json::read_bootstrap(&bootstrap(endpoint(), forbidden)).expect("a bootstrap");
    let config = convert::bootstrap(message.clone()).expect("a bootstrap");
    let server = Server::start(&config, Options::new(message)).expect("free ports");
    let (handle, admin) = (server.handle(), server.admin_address().expect("an admin"));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(server.run(pending())).expect("served");
    });
    let address = |name: &str| {
        let listener = &handle.snapshot().listeners[name];
        listener.sockets[0].local_addr().expect("a bound socket")
    };

    let mut http = connect(address("http"));
    let mut tcp = connect(address("tcp"));
    assert!(ask(&mut http, "/").ends_with("hi"));
    assert!(ask(&mut tcp, "/").ends_with("hi"));

    for (count, listener) in [(1, "http"), (2, "doomed"), (3, "http")] {
        assert_eq!(ask(&mut connect(address(listener)), "/panic"), "");
        wait("counted", || handle.panics() == count);
        assert!(ask(&mut http, "/").ends_with("hi"), "{listener}");
        assert!(ask(&mut tcp, "/").ends_with("hi"), "{listener}");
    }
    for (scope, name, expected) in [
        (("listener", "http"), "downstream_cx_active", 1),
        (("listener", "doomed"), "downstream_cx_active", 0),
        (("http", "http"), "downstream_cx_active", 1),
        (("http", "http"), "downstream_cx_http1_active", 1),
        (("http", "http"), "downstream_rq_active", 0),
        (("cluster", "forbidden"), "upstream_rq_active", 0),
        (("cluster", "forbidden"), "upstream_cx_active", 0),
    ] {
        assert_eq!(gauge(&handle, scope, name), expected, "{scope:?} {name}");
    }
    let mut ready = connect(admin);
    let request = b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    ready.write_all(request).expect("a request");
    let ready = std::io::read_to_string(ready).expect("an answer");
    assert!(ready.starts_with("HTTP/1.1 200 OK"), "{ready}");
    let told = "LIVE\n3 panics contained since the start";
    assert!(ready.contains(told), "{ready}");
    handle.stop();
}
