//! What hosts are asked, and where: both ask the same.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use weir_tests::{envoy, eventually::eventually, http};

use super::{Cluster, PATIENCE, Pair, checks::settled, endpoint, refusing};

/// One check, and none after it for the length of a test.
const ONCE: &str = "timeout: 60s, interval: 3600s, no_traffic_interval: 3600s, unhealthy_threshold: 1, healthy_threshold: 1";

/// What a host was asked: lines, in order where order means nothing.
pub(super) type Asked = Arc<Mutex<Vec<Vec<String>>>>;

/// A host of HTTP/1 that notes what it is asked, or only how a connection begins, and then ends it.
fn noting(notes: fn(&[u8]) -> Vec<String>, answers: bool) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 16384];
            let mut length = 0;
            // The request, its body too: both send them at once or shortly after each other.
            while let Ok(read @ 1..) = stream.read(&mut bytes[length..]) {
                length += read;
                let text = String::from_utf8_lossy(&bytes[..length]);
                if !answers || text.ends_with("\r\n\r\n") || text.ends_with("body") {
                    break;
                }
            }
            noted.lock().expect("notes").push(notes(&bytes[..length]));
            if answers {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    (address, asked)
}

fn request(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The application protocols that a TLS client offers, or that it is none.
fn offer(bytes: &[u8]) -> Vec<String> {
    if bytes.first() != Some(&22) {
        return vec!["no TLS".to_owned()];
    }
    let names = ["checks/1", "h2", "http/1.1"];
    let has = |name: &str| {
        let length = [name.len() as u8];
        let name = [&length[..], name.as_bytes()].concat();
        bytes.windows(name.len()).any(|window| window == name)
    };
    let offered = names.into_iter().filter(|name| has(name));
    offered.map(str::to_owned).collect()
}

/// A host of HTTP/2 that notes what it is asked, and answers in gRPC that all is well.
fn noting_http2() -> (SocketAddr, Asked) {
    answering_http2(Answer::SERVING)
}

/// What a host of HTTP/2 answers.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) message: &'static [u8],
    /// In trailers; none: without them.
    pub(super) grpc_status: Option<&'static str>,
}

impl Answer {
    /// A `HealthCheckResponse` that says that all is well.
    pub(super) const SERVING: Self = Self {
        status: 200,
        content_type: "application/grpc",
        message: &[0, 0, 0, 0, 2, 8, 1],
        grpc_status: Some("0"),
    };
}

/// A host of HTTP/2 that notes what it is asked, and answers this.
pub(super) fn answering_http2(answer: Answer) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("an option");
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_http2(stream, Arc::clone(&noted), answer));
        }
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        runtime.block_on(serve);
    });
    (address, asked)
}

async fn serve_http2(stream: tokio::net::TcpStream, noted: Asked, answer: Answer) {
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let noted = Arc::clone(&noted);
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut lines = vec![format!("{} {}", head.method, head.uri)];
            for (name, value) in &head.headers {
                lines.push(format!("{name}: {}", value.to_str().expect("text")));
            }
            while let Some(data) = body.data().await {
                lines.push(format!("{:?}", data.expect("a body")));
            }
            lines.sort();
            noted.lock().expect("notes").push(lines);
            let head = ::http::Response::builder().status(answer.status);
            let head = head.header("content-type", answer.content_type);
            let head = head.body(()).expect("a head");
            let mut stream = respond.send_response(head, false).expect("sent");
            let message = Bytes::from_static(answer.message);
            let ends = answer.grpc_status.is_none();
            stream.send_data(message, ends).expect("sent");
            if let Some(status) = answer.grpc_status {
                let mut trailers = ::http::HeaderMap::new();
                trailers.insert("grpc-status", status.parse().expect("a value"));
                stream.send_trailers(trailers).expect("sent");
            }
        });
    }
}

/// A cluster of these `LbEndpoint`s.
fn cluster(name: &str, fields: &str, endpoints: &[String]) -> Cluster {
    Cluster {
        name: name.to_owned(),
        fields: fields.to_owned(),
        localities: format!("{{ lb_endpoints: [{}] }}", endpoints.join(", ")),
    }
}

/// An `LbEndpoint` with more about it.
fn lb_endpoint(address: SocketAddr, more: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}, {more} }} }}"
    )
}

#[test]
fn hosts_are_asked_the_same_by_both() {
    if !envoy::available() {
        return;
    }
    let web =
        |fields: &str| format!("health_checks: [{{ {ONCE}, http_health_check: {{ {fields} }} }}],");
    let grpc = |fields: &str| {
        format!(
            "http2_protocol_options: {{}}, health_checks: [{{ {ONCE}, grpc_health_check: {{ {fields} }} }}],"
        )
    };
    let tls = |name: &str, matches: &str| {
        format!(
            "{{ name: {name}, {matches} transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \
             \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
             common_tls_context: {{ alpn_protocols: [http/1.1] }} }} }} }}"
        )
    };
    let sockets = format!(
        "transport_socket_matches: [{}], ",
        tls("one", "match: { speaks: tls },")
    );
    let tcp = |fields: &str| {
        format!(
            "{sockets} health_checks: [{{ {ONCE}, tcp_health_check: {{ send: {{ text: '68' }}, receive: [{{ text: '68' }}] }}, {fields} }}],"
        )
    };
    let added = "{ header: { key: x-a, value: one } }, { header: { key: x-a, value: two } }, { header: { key: x-a, value: three }, append_action: ADD_IF_ABSENT }, { header: { key: x-b, value: b }, append_action: OVERWRITE_IF_EXISTS }, { header: { key: x-d, value: d }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }, { header: { key: x-d, value: e } }";
    let rows = [
        (
            "plain",
            web("path: '/healthz?x=y'"),
            "",
            noting(request, true),
        ),
        (
            "host",
            web("path: /, host: checks.example"),
            "",
            noting(request, true),
        ),
        (
            "hostname",
            web("path: /, host: checks.example"),
            "hostname: no.example, health_check_config: { hostname: own.example }",
            noting(request, true),
        ),
        (
            "post",
            web("path: /, method: POST, send: { text: '626f6479' }"),
            "",
            noting(request, true),
        ),
        (
            "options",
            web("path: /, method: OPTIONS"),
            "",
            noting(request, true),
        ),
        (
            "headers",
            web(&format!(
                "path: /, request_headers_to_add: [{added}], request_headers_to_remove: [user-agent, x-c]"
            )),
            "",
            noting(request, true),
        ),
        (
            "http2",
            web("path: '/two?x=y', codec_client_type: HTTP2, host: two.example"),
            "",
            noting_http2(),
        ),
        ("server", grpc(""), "", noting_http2()),
        (
            "service",
            grpc(&format!(
                "service_name: shop.Cart, authority: cart.example, initial_metadata: [{added}]"
            )),
            "",
            noting_http2(),
        ),
        ("raw", tcp(""), "", noting(offer, false)),
        (
            "matched",
            tcp("transport_socket_match_criteria: { speaks: tls }"),
            "",
            noting(offer, false),
        ),
        (
            "protocols",
            tcp(
                "transport_socket_match_criteria: { speaks: tls }, tls_options: { alpn_protocols: [checks/1, h2] }",
            ),
            "",
            noting(offer, false),
        ),
    ];
    let mut clusters: Vec<Cluster> = rows
        .iter()
        .map(|(name, fields, more, (host, _))| cluster(name, fields, &[lb_endpoint(*host, more)]))
        .collect();
    // Whoever connects for bytes comes to the last.
    clusters.push(cluster("bytes", "", &[lb_endpoint(refusing(), "")]));
    let Pair(proxies) = Pair::start(&clusters);
    let names: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
    let [envoys, ours] = proxies.each_ref().map(|proxy| settled(proxy, &names));
    assert_eq!(ours, envoys);
    for (name, _, _, (_, asked)) in &rows {
        let asked = asked.lock().expect("notes");
        assert_eq!(asked.len(), 2, "{name}: {asked:?}");
        assert_eq!(asked[1], asked[0], "{name}");
    }
    let noted = |name: &str| {
        let (.., (_, asked)) = rows.iter().find(|row| row.0 == name).expect("a row");
        asked.lock().expect("notes")[1].clone()
    };
    assert_eq!(noted("raw"), ["no TLS"]);
    assert_eq!(noted("matched"), ["http/1.1"]);
    assert_eq!(noted("protocols"), ["checks/1", "h2"]);
    assert!(noted("hostname").contains(&"host: own.example".to_owned()));
}

#[test]
fn endpoints_say_where_they_are_asked_and_whether() {
    if !envoy::available() {
        return;
    }
    let (good, gone) = (endpoint("200 OK", "good"), refusing());
    let other = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("a port");
    let elsewhere = other.local_addr().expect("an address");
    http::serve_status(other, "200 OK", "", "elsewhere");
    let (ip, port) = (elsewhere.ip(), elsewhere.port());
    let config = |fields: String| format!("health_check_config: {{ {fields} }}");
    let address = format!("address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}");
    let other_port = format!(
        "address: {{ socket_address: {{ address: {ip}, port_value: 1 }} }}, port_value: {port}"
    );
    let rows = [
        (
            "good-port",
            lb_endpoint(gone, &config(format!("port_value: {}", good.port()))),
            "healthy",
        ),
        (
            "bad-port",
            lb_endpoint(good, &config(format!("port_value: {}", gone.port()))),
            "/failed_active_hc",
        ),
        ("address", lb_endpoint(gone, &config(address)), "healthy"),
        (
            "address-and-port",
            lb_endpoint(gone, &config(other_port)),
            "healthy",
        ),
    ];
    let check = format!("health_checks: [{{ {ONCE}, http_health_check: {{ path: / }} }}],");
    let mut clusters: Vec<Cluster> = rows
        .iter()
        .map(|(name, endpoint, _)| cluster(name, &check, std::slice::from_ref(endpoint)))
        .collect();
    let disabled = "health_check_config: { disable_active_health_check: true }";
    clusters.push(cluster("disabled", &check, &[lb_endpoint(gone, disabled)]));
    let Pair(proxies) = Pair::start(&clusters);
    for proxy in &proxies {
        for (name, _, expected) in &rows {
            let seen = settled(proxy, &[name]).remove(*name).expect("a cluster");
            assert_eq!(seen.0, [*expected], "{name}");
        }
        let flags: Vec<String> = proxy.flags("disabled").into_values().collect();
        assert_eq!(flags, ["healthy"]);
        assert_eq!(proxy.stat("disabled", "health_check.attempt"), 0);
    }
}

#[test]
fn checks_share_a_connection_where_they_may() {
    if !envoy::available() {
        return;
    }
    let often = "timeout: 60s, interval: 0.02s, no_traffic_interval: 0.02s, unhealthy_threshold: 1, healthy_threshold: 1";
    let kinds = [
        ("web", "http_health_check: { path: / }"),
        (
            "raw",
            "tcp_health_check: { send: { text: '0d0a0d0a' }, receive: [{ text: '32303020' }] }",
        ),
    ];
    let rows = kinds.iter().flat_map(|(name, kind)| {
        [true, false].map(|reuse| {
            let (host, connections) = counting();
            let fields =
                format!("health_checks: [{{ {often}, reuse_connection: {reuse}, {kind} }}],");
            let name = format!("{name}-{reuse}");
            (
                cluster(&name, &fields, &[lb_endpoint(host, "")]),
                reuse,
                connections,
            )
        })
    });
    let (mut clusters, mut expected) = (Vec::new(), Vec::new());
    for (cluster, reuse, connections) in rows {
        expected.push((cluster.name.clone(), reuse, connections));
        clusters.push(cluster);
    }
    let Pair(proxies) = Pair::start(&clusters);
    for (name, reuse, connections) in expected {
        for proxy in &proxies {
            eventually(PATIENCE, || {
                (proxy.stat(&name, "health_check.success") > 5).then_some(())
            })
            .expect(&name);
        }
        let connections = *connections.lock().expect("a number");
        match reuse {
            // One of each proxy.
            true => assert_eq!(connections, 2, "{name}"),
            false => assert!(connections >= 12, "{name}: {connections}"),
        }
    }
}

/// A host that answers all that ends with an empty line, and how many connections it has had.
pub(super) fn counting() -> (SocketAddr, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            *counted.lock().expect("a number") += 1;
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes) {
                    if stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    (address, count)
}
