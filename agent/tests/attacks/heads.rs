//! Heads of requests: large ones that are said in few octets, that never end, or that come octet by octet.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use weir_tests::{eventually::eventually, frames};

use crate::{
    PATIENCE,
    endpoint::{Does, Endpoint},
    target::Target,
};

/// MiB that heads may cost, whatever they are: those of open streams, those that have not ended, what
/// they are made of while they are read, and an allocator that gives nothing back.
const COST: u64 = 192;

/// Connections to the target that have sent this.
fn connections(to: SocketAddr, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = frames::connect(to, PATIENCE).expect("listening");
        // It may be refused before all has left.
        let _ = stream.write_all(sent);
        stream
    };
    (0..count).map(connect).collect()
}

/// Waits until the proxy has said that it takes no more of this.
fn until_more_than(target: &Target, stat: &str, count: i64) {
    if target.is_ours() {
        let look = || (target.stat(stat) > count).then_some(());
        assert!(
            eventually(PATIENCE, look).is_ok(),
            "{stat} is {}",
            target.stat(stat)
        );
    }
}

#[test]
fn heads_that_say_much_in_few_octets() {
    let bad = Endpoint::new(Does::Nothing);
    for target in Target::both(&bad, "") {
        let before = target.most_memory();
        // 750 MiB of heads, in 202 KiB.
        let sent = [frames::hello(), frames::expanding(1000, 4000, 62)].concat();
        let all = target.beside_a_client("HPACK expansion", || {
            let mut all = connections(target.address(), 3, &sent);
            let octets = sent.len() * all.len() / 1024;
            println!("{octets} KiB on the wire");
            until_more_than(&target, "http2.header_overflow", 2000);
            // What is refused is answered, and read.
            for stream in &mut all {
                stream.set_nonblocking(true).expect("set");
                let mut buffer = vec![0; 1 << 16];
                let drained = || match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => None,
                    _ => Some(()),
                };
                assert!(eventually(PATIENCE, drained).is_ok());
            }
            all
        });
        let cost = target.most_memory() - before;
        assert!(!target.is_ours() || cost < COST, "{cost} MiB");
        drop(all);
    }
}

#[test]
fn large_heads_that_never_end() {
    let bad = Endpoint::new(Does::Nothing);
    let http1 = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}", "a".repeat(250 * 1024));
    let field = [&b"\x00\x01a\x7f\xa1\x7e"[..], &[b'v'; 16_288 - 64]].concat();
    let http2 = [
        frames::hello(),
        frames::frame(frames::HEADERS, frames::END_STREAM, 1, frames::GET),
        frames::frame(frames::CONTINUATION, 0, 1, &field).repeat(14),
    ]
    .concat();
    for target in Target::both(&bad, "") {
        let before = target.most_memory();
        let all = target.beside_a_client("unfinished heads", || {
            let mut all = connections(target.address(), 800, http1.as_bytes());
            all.extend(connections(target.address(), 800, &http2));
            until_more_than(&target, "http.web.downstream_rq_too_large", 700);
            all
        });
        let cost = target.most_memory() - before;
        assert!(!target.is_ours() || cost < COST, "{cost} MiB");
        drop(all);
    }
}

#[test]
fn heads_that_come_octet_by_octet() {
    weir_guard::raise_open_files().expect("files for a thousand connections");
    let bad = Endpoint::new(Does::Nothing);
    for target in Target::both(&bad, "") {
        let before = target.most_memory();
        let began = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}", "a".repeat(8 * 1024));
        target.beside_a_client("1100 trickling connections", || {
            let mut all = connections(target.address(), 1100, began.as_bytes());
            for _ in 0..30 {
                for stream in &mut all {
                    let sent = stream.write_all(b"a");
                    let is_open = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
                    assert!(sent.as_ref().is_ok() || sent.as_ref().is_err_and(is_open));
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let cost = target.most_memory() - before;
        assert!(!target.is_ours() || cost < COST, "{cost} MiB");
    }
}
