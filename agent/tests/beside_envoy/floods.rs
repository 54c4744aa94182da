//! Frames of HTTP/2 that cost something and bring nothing, at both: how many of a kind are taken, and what
//! is counted for it.

use std::{
    io::{ErrorKind, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use weir_tests::{
    envoy,
    eventually::eventually,
    frames::{self, frame},
};

use crate::{
    proxies::{Ports, Proxy},
    stats,
};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// The payload of a PING that asks whether the connection still stands.
const STILL_THERE: &[u8; 8] = b"there?  ";

/// A flood: what comes first, what comes again and again, and what is counted for it.
struct Flood {
    name: &'static str,
    strict: bool,
    first: Vec<u8>,
    again: Vec<u8>,
    /// So many are taken, and one more is not.
    taken: usize,
    counter: &'static str,
}

fn floods() -> Vec<Flood> {
    let request = frame(frames::HEADERS, frames::END_HEADERS, 1, frames::POST);
    let flood = |name, strict, first: &[u8], again, taken, counter| Flood {
        name,
        strict,
        first: first.to_vec(),
        again,
        taken,
        counter,
    };
    let (empty, priority, window) = (
        frame(frames::DATA, 0, 1, b""),
        frame(frames::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
        frame(frames::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    );
    let (of_empty, of_priority, of_window) = (
        "http2.inbound_empty_frames_flood",
        "http2.inbound_priority_frames_flood",
        "http2.inbound_window_update_frames_flood",
    );
    vec![
        flood("DATA", false, &request, empty.clone(), 1, of_empty),
        flood("DATA", true, &request, empty, 7, of_empty),
        flood(
            "PRIORITY",
            false,
            &request,
            priority.clone(),
            200,
            of_priority,
        ),
        flood("PRIORITY", true, &request, priority, 6, of_priority),
        flood(
            "WINDOW_UPDATE",
            false,
            &request,
            window.clone(),
            7,
            of_window,
        ),
        flood("WINDOW_UPDATE", true, &request, window, 7, of_window),
    ]
}

/// An endpoint that takes connections and says nothing.
fn silent() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut held = Vec::new();
        held.extend(listener.incoming().flatten());
    });
    port
}

fn both() -> [(&'static str, Proxy); 2] {
    let bootstrap = include_str!("floods.bootstrap.yaml");
    let ports = || Ports {
        echo: silent(),
        ..Ports::free()
    };
    [
        ("Envoy", Proxy::envoy(bootstrap, ports())),
        ("Weir", Proxy::weir(bootstrap, ports())),
    ]
}

fn address(proxy: &Proxy, strict: bool) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, proxy.port(strict, false)).into()
}

/// Whether the connection stands once the proxy has seen all this.
fn stands_after(address: SocketAddr, octets: &[u8]) -> bool {
    let mut stream = frames::connect(address, PATIENCE).expect("listening");
    let ping = frame(frames::PING, 0, 0, STILL_THERE);
    // It may be gone in the middle.
    if stream.write_all(&[octets, &ping].concat()).is_err() {
        return false;
    }
    loop {
        match frames::read(&mut stream) {
            Ok(Some((frames::PING, _, _, payload))) if payload == STILL_THERE => return true,
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(error) => {
                let is_silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_silent, "nothing came");
                return false;
            }
        }
    }
}

/// Waits until the proxy has counted so much.
fn counted(proxy: &Proxy, name: &str, expected: i64) -> Option<()> {
    let look = || {
        let stats = stats::read(proxy.admin());
        (stats.get(name).copied().unwrap_or(0) == expected).then_some(())
    };
    eventually(PATIENCE, look).ok()
}

#[test]
fn floods_end_at_the_same_frame_and_are_counted_alike() {
    if !envoy::available() {
        return;
    }
    for (proxy_name, proxy) in both() {
        let mut ended = std::collections::BTreeMap::new();
        for flood in floods() {
            let sent = |times| {
                [
                    frames::hello(),
                    flood.first.clone(),
                    flood.again.repeat(times),
                ]
                .concat()
            };
            let at = address(&proxy, flood.strict);
            let name = format!("{} of {proxy_name}, strict: {}", flood.name, flood.strict);
            assert!(stands_after(at, &sent(flood.taken)), "{name}");
            assert!(!stands_after(at, &sent(flood.taken + 1)), "{name}");
            *ended.entry(flood.counter).or_insert(0) += 1;
        }
        for (counter, times) in ended {
            assert!(
                counted(&proxy, counter, times).is_some(),
                "{counter} of {proxy_name}"
            );
        }
    }
}

#[test]
fn floods_without_a_number_end_as_well() {
    if !envoy::available() {
        return;
    }
    let pings = frame(frames::PING, 0, 0, &[7; 8]).repeat(600_000);
    let head = frame(frames::HEADERS, 0, 1, frames::GET);
    let field = b"\x00\x01a\x0412".repeat(2000);
    let continued = frame(frames::CONTINUATION, 0, 1, &field).repeat(200);
    for (name, proxy) in both() {
        let at = address(&proxy, false);
        for (what, octets) in [
            ("PING whose answers are not read", pings.clone()),
            (
                "CONTINUATION without end",
                [head.clone(), continued.clone()].concat(),
            ),
        ] {
            let sent = [frames::hello(), octets].concat();
            assert!(!stands_after(at, &sent), "{what} at {name}");
        }
        // Envoy's library ends the connection for PING without telling it why.
        if name == "Weir" {
            let control = "http2.outbound_control_flood";
            assert!(counted(&proxy, control, 1).is_some());
        }
    }
}

/// Opens streams and resets each at once, in pieces so that each is seen, until the connection ends. How
/// many it took.
fn reset_until_it_ends(address: SocketAddr) -> u32 {
    let mut stream = frames::connect(address, PATIENCE).expect("listening");
    stream.write_all(&frames::hello()).expect("sent");
    for number in 0..2000 {
        let id = 2 * number + 1;
        let open = frame(frames::HEADERS, frames::WHOLE, id, frames::GET);
        let ping = frame(frames::PING, 0, 0, STILL_THERE);
        let reset = frame(frames::RST_STREAM, 0, id, &[0, 0, 0, 8]);
        if stream.write_all(&[open, ping].concat()).is_err() {
            return number;
        }
        loop {
            match frames::read(&mut stream) {
                Ok(Some((frames::PING, ..))) => break,
                Ok(Some((frames::GOAWAY, ..)) | None) | Err(_) => return number,
                Ok(Some(_)) => {}
            }
        }
        if stream.write_all(&reset).is_err() {
            return number + 1;
        }
    }
    u32::MAX
}

#[test]
fn streams_that_are_reset_soon_end_their_connection() {
    if !envoy::available() {
        return;
    }
    for (name, proxy) in both() {
        let at = address(&proxy, false);
        let number = reset_until_it_ends(at);
        assert!((249..=251).contains(&number), "{name} took {number}");
        let counter = "http.usual.downstream_rq_too_many_premature_resets";
        assert!(counted(&proxy, counter, 1).is_some(), "{name}");
        // Whoever runs it can say another number.
        let set = "/runtime_modify?overload.premature_reset_total_stream_count=20";
        post(proxy.admin(), set);
        let number = reset_until_it_ends(at);
        assert!((9..=11).contains(&number), "{name} took {number}");
        assert!(counted(&proxy, counter, 2).is_some(), "{name}");
    }
}

/// Of streams that are reset too soon 250 would be too many.
#[test]
fn resets_come_in_a_burst_and_then_no_more() {
    if !envoy::available() {
        return;
    }
    for (name, proxy) in both() {
        let began = std::time::Instant::now();
        let number = reset_until_it_ends(address(&proxy, true));
        let seconds = began.elapsed().as_secs() as u32 + 1;
        // One more may have been under way.
        let most = 42 + seconds;
        assert!(
            (40..=most).contains(&number),
            "{name} took {number}, in {seconds} s"
        );
    }
}

fn post(admin: SocketAddr, path: &str) {
    let mut stream = frames::connect(admin, PATIENCE).expect("listening");
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let head = weir_tests::http::read_head(&mut stream).expect("an answer");
    assert!(head.is_some_and(|head| head.contains(" 200 ")), "{path}");
}
