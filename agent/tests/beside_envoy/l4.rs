//! Filter chains and `tcp_proxy` beside real Envoy: the same first bytes must reach the same
//! upstream through both.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use weir_tests::envoy;

use crate::proxies::{self, Ports, Proxy};

const UPSTREAMS: [&str; 9] = [
    "exact", "flaky", "wildcard", "alpn", "tls", "http1", "http10", "h2c", "default",
];

#[test]
fn the_same_first_bytes_reach_the_same_upstream_through_both() {
    if !envoy::available() {
        return;
    }
    let clusters: Vec<String> = UPSTREAMS.iter().map(|name| cluster(name)).collect();
    let bootstrap = include_str!("l4.bootstrap.yaml");
    let bootstrap = bootstrap.replace("@CLUSTERS@", &clusters.join(", "));
    let envoy = Proxy::envoy(&bootstrap, Ports::free());
    let weir = Proxy::weir(&bootstrap, Ports::free());
    for (name, bytes, upstream) in cases() {
        let through_envoy = talk(envoy.port(false, false), &bytes, Sent::AtOnce);
        assert_eq!(
            through_envoy,
            format!("{upstream} {}", bytes.len()),
            "{name} through Envoy"
        );
        assert_eq!(
            talk(weir.port(false, false), &bytes, Sent::AtOnce),
            through_envoy,
            "{name} at once"
        );
        assert_eq!(
            talk(weir.port(false, false), &bytes, Sent::InPieces),
            through_envoy,
            "{name} in pieces"
        );
    }
}

fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("exact name", client_hello("a.example", &[]), "exact"),
        ("name in capitals", client_hello("A.Example", &[]), "exact"),
        (
            "one endpoint refuses",
            client_hello("flaky.example", &[]),
            "flaky",
        ),
        (
            "one endpoint refuses, again",
            client_hello("flaky.example", &[]),
            "flaky",
        ),
        ("another version of the record", odd_version(), "exact"),
        ("wildcard name", client_hello("b.example", &[]), "wildcard"),
        (
            "wildcard of two labels",
            client_hello("c.b.example", &[]),
            "wildcard",
        ),
        (
            "wildcard with ALPN",
            client_hello("b.example", &["h2"]),
            "wildcard",
        ),
        ("other name", client_hello("other.org", &[]), "tls"),
        (
            "other name with ALPN",
            client_hello("other.org", &["h2", "http/1.1"]),
            "alpn",
        ),
        (
            "other name with other ALPN",
            client_hello("other.org", &["http/1.1"]),
            "tls",
        ),
        (
            "HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
            "http1",
        ),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n".to_vec(), "http10"),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
            "h2c",
        ),
        (
            "text that is not HTTP",
            b"PING\r\nPING\r\n".to_vec(),
            "default",
        ),
        (
            "bytes that are not TLS",
            b"\x16\x02\x01\0\x05hello".to_vec(),
            "default",
        ),
        ("binary", (0..=255).collect(), "default"),
    ]
}

/// A STATIC cluster whose one endpoint says its name once it has received something, and how many
/// bytes it has received once its client has ended.
pub(crate) fn cluster(name: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut first = [0; 65536];
                let first = stream.read(&mut first).unwrap_or(0);
                let _ = stream.write_all(name.as_bytes());
                let mut rest = Vec::new();
                if stream.read_to_end(&mut rest).is_ok() {
                    let _ = stream.write_all(format!(" {}", first + rest.len()).as_bytes());
                }
            });
        }
    });
    let endpoint = |port: u16| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}"
        )
    };
    // Nobody listens where nobody has listened before.
    let refusing = (name == "flaky").then(|| endpoint(proxies::free_port()));
    let endpoints: Vec<String> = refusing.into_iter().chain([endpoint(port)]).collect();
    format!(
        "{{ name: {name}, type: STATIC, connect_timeout: 1s, load_assignment: {{ \
         cluster_name: {name}, endpoints: [{{ lb_endpoints: [{}] }}] }} }}",
        endpoints.join(", ")
    )
}

pub(crate) fn client_hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    let name = name.to_owned().try_into().expect("a server name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("a ClientHello");
    bytes
}

/// A ClientHello in a record whose version nobody has heard of, which is to be ignored.
fn odd_version() -> Vec<u8> {
    let mut bytes = client_hello("a.example", &[]);
    bytes[1..3].copy_from_slice(&[3, 0x99]);
    bytes
}

#[derive(Clone, Copy)]
enum Sent {
    AtOnce,
    /// Three writes, with a pause that lets each arrive alone.
    InPieces,
}

fn talk(port: u16, bytes: &[u8], sent: Sent) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the proxy listens");
    stream.set_nodelay(true).expect("no delay");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    match sent {
        Sent::AtOnce => stream.write_all(bytes).expect("written"),
        Sent::InPieces => {
            for part in bytes.chunks(bytes.len().div_ceil(3)) {
                stream.write_all(part).expect("written");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    // Envoy resets a connection whose client ends it before a filter chain is chosen.
    let (mut first, mut answer) = ([0], String::new());
    let read = stream.read_exact(&mut first).and_then(|()| {
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_string(&mut answer)
    });
    match read {
        Ok(_) => format!("{}{answer}", char::from(first[0])),
        Err(error) => format!("{:?}", error.kind()),
    }
}
