//! ORIGINAL_DST clusters that listen to headers and metadata, beside real Envoy.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use weir_tests::{envoy, http};

use crate::proxies::{Ports, Proxy};

const PATIENCE: Duration = Duration::from_secs(60);

const BOOTSTRAP: &str = r#"
admin:
  address: { socket_address: { address: 127.0.0.1, port_value: @ADMIN@ } }
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: @LISTENER@ } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: change
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation }
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: /header/changed }
                route: { cluster: header }
                typed_per_filter_config:
                  change:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute
                    mutations: { request_mutations: [{ append: { header: { key: x-envoy-original-dst-host, value: "127.0.0.1:@A@" }, append_action: OVERWRITE_IF_EXISTS_OR_ADD } }] }
              - match: { prefix: /header }
                route: { cluster: header }
              - match: { prefix: /named }
                route: { cluster: named }
              - match: { prefix: /port }
                route: { cluster: port }
  - name: bytes
    address: { socket_address: { address: 127.0.0.1, port_value: @STRICT@ } }
    listener_filters:
    - name: proxy_protocol
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
        rules: [{ tlv_type: 224, on_tlv_present: { metadata_namespace: dst, key: to } }]
    filter_chains:
    - filters:
      - name: tcp
        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: metadata }
  clusters:
  - { name: header, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { use_http_header: true } }
  - { name: named, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { use_http_header: true, http_header_name: X-To } }
  - { name: port, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { use_http_header: true, upstream_port_override: @B@ } }
  - { name: metadata, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { metadata_key: { key: dst, path: [{ key: to }] } } }
"#;

fn endpoint(name: &str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    http::serve(listener, "connection: close\r\n", name);
    port
}

/// The status and the body that a request gets.
fn ask(proxy: &Proxy, path: &str, fields: &str) -> (String, String) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(false, false)));
    let mut stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (
        head.lines().next().unwrap_or_default().to_owned(),
        body.to_owned(),
    )
}

/// What a connection gets whose PROXY protocol header says that it went to `port`, and in its TLV
/// 224 this text; empty where it is closed.
fn ask_by_tlv(proxy: &Proxy, port: u16, text: Option<&str>) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(true, false)));
    let mut stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut addresses = vec![127, 0, 0, 1, 127, 0, 0, 1, 0x30, 0x39];
    addresses.extend(port.to_be_bytes());
    if let Some(text) = text {
        addresses.push(224);
        addresses.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
        addresses.extend(text.bytes());
    }
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    bytes.extend(u16::try_from(addresses.len()).expect("short").to_be_bytes());
    bytes.extend(addresses);
    bytes.extend(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    stream.write_all(&bytes).expect("written");
    let mut first = [0; 4096];
    let read = stream.read(&mut first).unwrap_or(0);
    let answer = String::from_utf8_lossy(&first[..read]).into_owned();
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[test]
fn requests_and_connections_go_where_they_say() {
    if !envoy::available() {
        return;
    }
    let (a, b) = (endpoint("a"), endpoint("b"));
    let bootstrap = BOOTSTRAP
        .replace("@A@", &a.to_string())
        .replace("@B@", &b.to_string());
    let proxies = [
        Proxy::envoy(&bootstrap, Ports::free()),
        Proxy::weir(&bootstrap, Ports::free()),
    ];
    let to = |port: u16| format!("x-envoy-original-dst-host: 127.0.0.1:{port}\r\n");
    let named = |port: u16| format!("x-to: 127.0.0.1:{port}\r\n");
    let nonsense = "x-envoy-original-dst-host: nonsense\r\n".to_owned();
    for (path, fields, expected) in [
        ("/header", to(a), Some("a")),
        ("/header", to(b), Some("b")),
        ("/header", to(a) + &to(b), Some("a")),
        ("/header", nonsense.clone(), None),
        (
            "/header",
            "x-envoy-original-dst-host: 127.0.0.1\r\n".to_owned(),
            None,
        ),
        ("/header", String::new(), None),
        ("/header/changed", to(b), Some("a")),
        ("/named", named(b), Some("b")),
        ("/named", to(a), None),
        ("/port", to(a), Some("b")),
        ("/port", nonsense, None),
    ] {
        let [envoy, weir] = proxies.each_ref().map(|proxy| ask(proxy, path, &fields));
        assert_eq!(weir, envoy, "{path} {fields:?}");
        match expected {
            Some(name) => assert_eq!(weir.1, name, "{path} {fields:?}"),
            None => assert!(weir.0.contains("503"), "{path} {fields:?}: {weir:?}"),
        }
    }
    let at = |port: u16| format!("127.0.0.1:{port}");
    for (port, text, expected) in [
        (a, None, "a"),
        (a, Some(at(b)), "b"),
        (b, Some("nonsense".to_owned()), "b"),
    ] {
        for proxy in &proxies {
            assert_eq!(
                ask_by_tlv(proxy, port, text.as_deref()),
                expected,
                "{port} {text:?}"
            );
        }
    }
    for cluster in ["header", "named", "port", "metadata"] {
        let counts = |proxy: &Proxy| {
            [
                "original_dst_host_invalid",
                "upstream_cx_none_healthy",
                "upstream_cx_total",
            ]
            .map(|name| proxy.stat(cluster, name))
        };
        let [envoy, weir] = proxies.each_ref().map(counts);
        assert_eq!(weir, envoy, "{cluster}");
    }
}
