//! Listener filters and network filters beside real Envoy: the same connections are let in or
//! closed, with the same log lines and the same counts.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use weir_tests::envoy;

use crate::{
    l4::{client_hello, cluster},
    proxies::{self, Ports, Proxy},
};

const BOOTSTRAP: &str = include_str!("network_filters.bootstrap.yaml");
const RBAC: &str = include_str!("network_rbac.bootstrap.yaml");
const LIMITS: &str = include_str!("network_limits.bootstrap.yaml");
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Source 1.2.3.4:1000, destination 5.6.7.8:2000.
const ADDRESSES: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 3, 232, 7, 208];
/// What both count. Those of a listener that is probed until it listens are not among them.
const COUNTED: [&str; 6] = [
    "proxy_proto.",
    "connection_limit.",
    "local_rate_limit.",
    "listener_local_ratelimit.",
    "cluster.sni.example.upstream_cx_total",
    "cluster.plain.example.upstream_cx_total",
];

/// One of the two, and where its logs are.
struct Side {
    proxy: Proxy,
    limited: u16,
    named: u16,
    logs: tempfile::TempDir,
}

#[test]
fn filters_let_in_close_log_and_count_as_envoys_do() {
    if !envoy::available() {
        return;
    }
    let clusters = ["plain.example", "sni.example"].map(cluster).join(", ");
    let theirs = Side::new(BOOTSTRAP, &clusters, Proxy::envoy);
    let weir = Side::new(BOOTSTRAP, &clusters, Proxy::weir);
    let mut wrong = Vec::new();
    for (title, bytes) in headers() {
        for (listener, port) in ["proxied", "lenient", "binary"].into_iter().zip(0..) {
            let through = |side: &Side| {
                let of = |strict, edge| side.proxy.port(strict, edge);
                let ports = [of(false, false), of(true, false), of(false, true)];
                talk(ports[port], &bytes)
            };
            compare(
                &mut wrong,
                &format!("{title} to {listener}"),
                &through(&theirs),
                &through(&weir),
            );
        }
    }
    for (title, through) in limits() {
        // Whether what was not read resets depends on when it came.
        let through = |side| through(side).replace("ConnectionReset", "");
        compare(&mut wrong, title, &through(&theirs), &through(&weir));
    }
    compare_sides(
        &mut wrong,
        &["proxied", "lenient", "limited", "named"],
        &theirs,
        &weir,
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rules_refuse_connections_when_their_bytes_come_as_envoys_do() {
    if !envoy::available() {
        return;
    }
    let clusters = cluster("plain.example");
    let theirs = Side::new(RBAC, &clusters, Proxy::envoy);
    let weir = Side::new(RBAC, &clusters, Proxy::weir);
    let mut wrong = Vec::new();
    let hello = client_hello("let.in", &[]);
    let request: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let talks: [(&str, u8, &[u8]); 8] = [
        ("watched", 0, b"hi"),
        ("no name", 1, b"plain"),
        ("its name", 1, &hello),
        ("a request, later", 2, request),
        ("two, and the second refuses", 3, b"hi"),
        ("a server that speaks first", 4, b"hi"),
        ("silence before it ends", 0, b""),
        ("silence before tcp_proxy", 3, b""),
    ];
    for (title, listener, bytes) in talks {
        let through = |side: &Side| {
            let of = |strict, edge| side.proxy.port(strict, edge);
            let ports = [of(false, false), of(true, false), of(false, true)];
            let ports = [&ports[..], &[side.limited, side.named]].concat();
            let start = Instant::now();
            let heard = match bytes {
                [] => end(ports[usize::from(listener)]),
                bytes => talk(ports[usize::from(listener)], bytes),
            };
            // Of a delay of 3 s; on a busy machine the rest takes its time, too.
            let waited = start.elapsed() >= Duration::from_millis(2900);
            format!("{heard} {}", if waited { "late" } else { "at once" })
        };
        compare(&mut wrong, title, &through(&theirs), &through(&weir));
    }
    let logs = ["watched", "forwarded", "requests", "two"];
    compare_sides(&mut wrong, &logs, &theirs, &weir);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn listeners_that_name_one_key_share_a_bucket_as_envoys_do() {
    if !envoy::available() {
        return;
    }
    let theirs = Side::new(LIMITS, "", Proxy::envoy);
    let weir = Side::new(LIMITS, "", Proxy::weir);
    let through = |side: &Side| {
        let ports = [side.limited, side.named, side.limited, side.named];
        let heard = ports.map(|port| talk(port, b"hi").replace("ConnectionReset", ""));
        heard.join(", ")
    };
    let mut wrong = Vec::new();
    let (envoys, ours) = (through(&theirs), through(&weir));
    compare(&mut wrong, "two of four", &envoys, "hi, hi, , ");
    compare(&mut wrong, "two of four", &envoys, &ours);
    compare_sides(&mut wrong, &[], &theirs, &weir);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Compares logs and counts.
fn compare_sides(wrong: &mut Vec<String>, logs: &[&str], theirs: &Side, weir: &Side) {
    for log in logs {
        let theirs = theirs.log(log, 0);
        let ours = weir.log(log, theirs.lines().count());
        for (theirs, ours) in theirs.lines().zip(ours.lines()) {
            compare(wrong, &format!("log {log}"), theirs, ours);
        }
        let lines = |text: &str| text.lines().count().to_string();
        let title = format!("lines of {log}");
        compare(wrong, &title, &lines(&theirs), &lines(&ours));
    }
    let (theirs, ours) = (theirs.counts(), weir.counts());
    compare(wrong, "counts", &theirs.join("\n"), &ours.join("\n"));
}

fn compare(wrong: &mut Vec<String>, title: &str, theirs: &str, ours: &str) {
    if theirs != ours {
        wrong.push(format!("{title}\n  Envoy: {theirs}\n  Weir:  {ours}"));
    }
}

/// PROXY protocol headers, right and wrong, each with the bytes `hi` behind it.
fn headers() -> Vec<(String, Vec<u8>)> {
    let texts = [
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 0 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP6 ::1 2001:db8::2 1 2\r\n",
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN a b\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 0.0.0.0 5.6.7.8 1 2\r\n",
        "PROXY TCP4 255.255.255.255 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 224.0.0.1 1 2\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXYTCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "hello world, this is no header\r\n",
        "GET",
    ];
    let texts = texts.map(|text| (format!("{text:?}"), text.as_bytes().to_vec()));
    let long = format!("PROXY TCP4 {}", "1".repeat(120)).into_bytes();
    let tlv = |kind: u8, value: &[u8]| [&[kind, 0, value.len() as u8], value].concat();
    let with = |tlvs: &[Vec<u8>]| [ADDRESSES, &tlvs.concat()].concat();
    let six = [
        &[0x20_u8][..],
        &[0; 14],
        &[1, 0x20],
        &[0; 14],
        &[2, 0, 1, 0, 2],
    ]
    .concat();
    let binary = [
        ("IPv4", 0x21, 0x11, ADDRESSES.to_vec()),
        ("IPv4 and UDP", 0x21, 0x12, ADDRESSES.to_vec()),
        ("IPv6", 0x21, 0x21, six),
        ("local", 0x20, 0x00, Vec::new()),
        ("local with more", 0x20, 0x11, with(&[tlv(2, b"a")])),
        ("no transport", 0x21, 0x10, ADDRESSES.to_vec()),
        ("no family", 0x21, 0x00, ADDRESSES.to_vec()),
        ("nothing at all", 0x21, 0x00, Vec::new()),
        ("a path", 0x21, 0x31, vec![0; 216]),
        ("version 3", 0x31, 0x11, ADDRESSES.to_vec()),
        ("no command", 0x22, 0x11, ADDRESSES.to_vec()),
        ("too short", 0x21, 0x11, ADDRESSES[..11].to_vec()),
        ("no address", 0x21, 0x11, vec![0; 12]),
        (
            "TLVs",
            0x21,
            0x11,
            with(&[tlv(2, b"x\xff\xfey"), tlv(3, b"\0\x01"), tlv(4, b"z")]),
        ),
        (
            "a TLV twice",
            0x21,
            0x11,
            with(&[tlv(2, b"one"), tlv(2, b"two")]),
        ),
        ("an empty TLV", 0x21, 0x11, with(&[tlv(2, b"")])),
        (
            "a TLV that is cut",
            0x21,
            0x11,
            with(&[b"\x02\0\x05abc".to_vec()]),
        ),
        ("half a TLV", 0x21, 0x11, with(&[b"\x02\0".to_vec()])),
    ];
    let binary = binary.map(|(title, command, family, body)| {
        let fixed = [command, family, 0, body.len() as u8];
        (title.to_owned(), [SIGNATURE, &fixed, &body].concat())
    });
    let mut headers: Vec<_> = texts.into_iter().chain(binary).collect();
    headers.push(("a line without end".to_owned(), long));
    for (_, bytes) in &mut headers {
        bytes.extend_from_slice(b"hi");
    }
    headers
}

type Through = fn(&Side) -> String;

/// What becomes of connections one after the other, and at the same time.
fn limits() -> [(&'static str, Through); 4] {
    [
        ("one connection at a time", |side| {
            let held = connect(side.limited);
            let mut first = [0];
            (&held).write_all(b"a").expect("written");
            (&held).read_exact(&mut first).expect("let in");
            let start = Instant::now();
            let others = [talk(side.limited, b"b"), talk(side.limited, b"c")];
            // Each is closed after the delay of the limit.
            let waited = start.elapsed() >= Duration::from_millis(500);
            drop(held);
            format!("{} {waited}", others.join(", "))
        }),
        ("two more, and then no token", |side| {
            // The place of the one before is free once it is known to be gone.
            let deadline = Instant::now() + Duration::from_secs(5);
            while side.count("connection_limit.one.active_connections") > 0 {
                assert!(Instant::now() < deadline, "the connection does not end");
                thread::sleep(Duration::from_millis(10));
            }
            let talks = [(); 3].map(|()| talk(side.limited, b"d"));
            talks.join(", ")
        }),
        ("a cluster by its name", |side| {
            let hello = |name| talk(side.named, &client_hello(name, &[])).replace('\0', "");
            [hello("sni.example"), hello("nobody.example")].join(", ")
        }),
        ("no name, and then no token", |side| {
            let talks = [(); 3].map(|()| talk(side.named, b"plain text"));
            talks.join(", ")
        }),
    ]
}

// === impl Side ===

impl Side {
    fn new(bootstrap: &str, clusters: &str, start: fn(&str, Ports) -> Proxy) -> Self {
        let logs = tempfile::tempdir().expect("a directory");
        let bootstrap = bootstrap.replace("@CLUSTERS@", clusters);
        let bootstrap = bootstrap.replace("@LOGS@", &logs.path().display().to_string());
        let (echo, refused) = (proxies::free_port(), proxies::free_port());
        let ports = Ports {
            echo,
            refused,
            ..Ports::free()
        };
        Self {
            proxy: start(&bootstrap, ports),
            limited: echo,
            named: refused,
            logs,
        }
    }

    /// A log without the ports that differ, once it has as many lines as it should.
    fn log(&self, name: &str, lines: usize) -> String {
        let path = self.logs.path().join(name);
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut text = read(&path);
        // It is written from time to time; what does not change any more is whole.
        loop {
            thread::sleep(Duration::from_millis(1200));
            let now = read(&path);
            if now == text && (now.lines().count() >= lines || Instant::now() > deadline) {
                break;
            }
            text = now;
        }
        let mut lines: Vec<String> = text.lines().map(without_own_ports).collect();
        // Those that wait for a timeout end later than others that came after them.
        lines.retain(|line| !line.starts_with("127.0.0.1:* 127.0.0.1:* 127.0.0.1:* - 0 0"));
        lines.join("\n")
    }

    fn counts(&self) -> Vec<String> {
        let stats = self.stats();
        let counted = |line: &&str| {
            // Envoy takes off where it has added nothing.
            let is_wrong = line.starts_with("connection_limit.unlimited.active_connections");
            let of_rules = line.contains(".rbac.");
            !is_wrong && (of_rules || COUNTED.iter().any(|known| line.starts_with(known)))
        };
        let mut counts: Vec<String> = stats.lines().filter(counted).map(str::to_owned).collect();
        counts.sort();
        counts
    }

    fn count(&self, name: &str) -> u64 {
        let stats = self.stats();
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }

    fn stats(&self) -> String {
        let mut stream = connect(self.proxy.admin().port());
        let request = b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Of addresses of this machine the ports are whatever was free.
fn without_own_ports(line: &str) -> String {
    let words = line
        .split(' ')
        .map(|word| match word.split_once("127.0.0.1:") {
            Some(("", _)) => "127.0.0.1:*",
            _ => word,
        });
    words.collect::<Vec<_>>().join(" ")
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the proxy listens");
    let timeout = Some(Duration::from_secs(10));
    stream.set_read_timeout(timeout).expect("a timeout");
    stream
}

/// What a client sees that says nothing and ends.
fn end(port: u16) -> String {
    let mut stream = connect(port);
    stream.shutdown(Shutdown::Write).expect("still open");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => String::from_utf8_lossy(&answer).into_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// What a client sees that says something and ends once it has heard something.
fn talk(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    if let Err(error) = stream.write_all(bytes) {
        return format!("{:?}", error.kind());
    }
    let (mut first, mut answer) = ([0; 64], Vec::new());
    let read = stream.read(&mut first).and_then(|length| {
        answer.extend_from_slice(&first[..length]);
        match stream.shutdown(Shutdown::Write) {
            // It has closed already.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(0),
            Err(error) => Err(error),
            Ok(()) => stream.read_to_end(&mut answer),
        }
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&answer).into_owned(),
        Err(error) if answer.is_empty() => format!("{:?}", error.kind()),
        // Closed with something unread, which depends on timing.
        Err(_) => String::from_utf8_lossy(&answer).into_owned(),
    }
}
