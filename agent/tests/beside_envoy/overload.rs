//! What becomes of connections and requests while memory or connections are too many, at both.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use weir_tests::{
    envoy,
    eventually::eventually,
    frames::{self, frame},
    http,
};

use crate::{
    proxies::{Ports, Proxy},
    stats,
};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Far longer than an answer takes that nobody gives.
const SILENCE: Duration = Duration::from_millis(500);
/// More memory than there is, and less than a program needs: bytes.
const MUCH: u64 = 1 << 50;
const LITTLE: u64 = 1000;

/// A bootstrap by the memory of both kinds, and what is done for want of the second.
fn both(heap: u64, cgroup: u64, on_cgroup: &str) -> [(&'static str, Proxy); 2] {
    let bootstrap = include_str!("overload.bootstrap.yaml")
        .replace("@HEAP@", &heap.to_string())
        .replace("@CGROUP@", &cgroup.to_string())
        .replace("@ON_CGROUP@", on_cgroup);
    [
        ("Envoy", Proxy::envoy(&bootstrap, Ports::free())),
        ("Weir", Proxy::weir(&bootstrap, Ports::free())),
    ]
}

fn at(proxy: &Proxy, bypass: bool, uncounted: bool) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, proxy.port(bypass, uncounted)).into()
}

/// Waits until the statistic has that value.
fn until(name: &str, proxy: &Proxy, stat: &str, value: i64) {
    let look = || {
        let stats = stats::read(proxy.admin());
        (stats.get(stat).copied() == Some(value)).then_some(())
    };
    let found = eventually(PATIENCE, look);
    let stats = || stats::read(proxy.admin()).get(stat).copied();
    assert!(
        found.is_ok(),
        "{name}: {stat} is {:?}, not {value}",
        stats()
    );
}

/// Status, `connection` and body of the answer in HTTP/1.
fn answer(address: SocketAddr) -> (u16, Option<String>, String) {
    let mut stream = frames::connect(address, PATIENCE).expect("listening");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .expect("sent");
    let head = http::read_head(&mut stream)
        .expect("an answer")
        .expect("one");
    let field = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
    };
    let length = field("content-length: ").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).expect("a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = String::from_utf8_lossy(&body).into_owned();
    (status.expect("a status"), field("connection: "), body)
}

/// The first frame of the answer in HTTP/2: its kind, and whether it says 503.
fn answers_503_in_http2(address: SocketAddr) -> bool {
    let mut stream = frames::connect(address, PATIENCE).expect("listening");
    let request = frame(frames::HEADERS, frames::WHOLE, 1, frames::GET);
    let sent = [frames::hello(), request].concat();
    stream.write_all(&sent).expect("sent");
    loop {
        let (kind, _, _, payload) = frames::read(&mut stream).expect("frames").expect("more");
        if kind == frames::HEADERS {
            // A literal with the name of `:status: 200`, or its like, in the static table.
            return payload.windows(3).any(|octets| octets == b"503")
                || payload.windows(2).any(|octets| octets == HUFFMAN_503);
        }
    }
}

/// `503` as the code of RFC 7541 appendix B has it, its first octets.
const HUFFMAN_503: &[u8] = &[0x6c, 0x0c];

/// What a connection reads that sends nothing.
fn first_read(address: SocketAddr) -> io::Result<usize> {
    let mut stream = frames::connect(address, SILENCE).expect("listening");
    stream.read(&mut [0])
}

#[test]
fn what_is_too_much_is_refused_in_the_same_words() {
    if !envoy::available() {
        return;
    }
    const HTTP: &str = "http.web";
    for (name, proxy) in both(LITTLE, MUCH, "reject_incoming_connections") {
        let action =
            |action: &str, stat: &str| format!("overload.envoy.overload_actions.{action}.{stat}");
        until(
            name,
            &proxy,
            &action("stop_accepting_requests", "active"),
            1,
        );
        until(
            name,
            &proxy,
            &action("disable_http_keepalive", "scale_percent"),
            100,
        );
        until(
            name,
            &proxy,
            &action("reject_incoming_connections", "active"),
            0,
        );
        let (status, connection, body) = answer(at(&proxy, false, false));
        let expected = (503, Some("close"), "envoy overloaded");
        assert_eq!((status, connection.as_deref(), &*body), expected, "{name}");
        assert!(answers_503_in_http2(at(&proxy, false, false)), "{name}");
        until(
            name,
            &proxy,
            &format!("{HTTP}.downstream_rq_overload_close"),
            2,
        );
        let ended = format!("{HTTP}.downstream_cx_overload_disable_keepalive");
        until(name, &proxy, &ended, 2);
        assert_eq!(answer(at(&proxy, true, false)).0, 200, "{name}");

        // Three connections, and no fourth, but where they are not counted.
        let usual = at(&proxy, false, false);
        let open = format!("{HTTP}.downstream_cx_active");
        until(name, &proxy, &open, 0);
        let held: Vec<_> = (0..3).map(|_| frames::connect(usual, PATIENCE)).collect();
        until(name, &proxy, &open, 3);
        let refused = first_read(usual);
        assert!(matches!(refused, Ok(0)), "{name}: {refused:?}");
        let listener = format!("listener.127.0.0.1_{}", usual.port());
        until(
            name,
            &proxy,
            &format!("{listener}.downstream_global_cx_overflow"),
            1,
        );
        assert_eq!(answer(at(&proxy, false, true)).0, 503, "{name}");
        // Envoy counts the one that is not counted as well.
        let monitor = "overload.envoy.resource_monitors.global_downstream_max_connections";
        let failed = || {
            stats::read(proxy.admin())
                .get(&format!("{monitor}.failed_updates"))
                .copied()
        };
        let look = || failed().filter(|count| *count >= 1);
        assert!(eventually(PATIENCE, look).is_ok(), "{name}");
        drop(held);
        until(name, &proxy, &open, 0);
        assert_eq!(answer(usual).0, 503, "{name}");
    }
}

#[test]
fn connections_are_rejected_or_left_in_the_kernel() {
    if !envoy::available() {
        return;
    }
    for (name, proxy) in both(MUCH, LITTLE, "reject_incoming_connections") {
        let active = "overload.envoy.overload_actions.reject_incoming_connections.active";
        until(name, &proxy, active, 1);
        let usual = at(&proxy, false, false);
        let refused = first_read(usual);
        assert!(matches!(refused, Ok(0)), "{name}: {refused:?}");
        assert_eq!(answer(at(&proxy, true, false)).0, 200, "{name}");
        let listener = format!("listener.127.0.0.1_{}", usual.port());
        let stats = stats::read(proxy.admin());
        let rejected = stats.get(&format!("{listener}.downstream_cx_overload_reject"));
        // Whoever looked whether it listens was rejected as well, or came too early for that.
        assert!(rejected.is_some_and(|count| *count >= 1), "{name}");
    }
    for (name, proxy) in both(MUCH, LITTLE, "stop_accepting_connections") {
        let active = "overload.envoy.overload_actions.stop_accepting_connections.active";
        until(name, &proxy, active, 1);
        let usual = at(&proxy, false, false);
        // One may have been waited for already.
        drop(frames::connect(usual, SILENCE));
        let mut stream = frames::connect(usual, SILENCE).expect("the kernel's queue");
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .expect("sent");
        let read = stream.read(&mut [0]);
        assert!(read.is_err(), "{name}: {read:?}");
    }
}
