//! Streams that are reset as soon as they have cost something, and answers that do not begin.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use weir_tests::{
    eventually::eventually,
    frames::{self, frame},
};

use crate::{
    PATIENCE,
    endpoint::{Does, Endpoint},
    target::Target,
};

/// Connections of the attacker, one after the other.
const CONNECTIONS: usize = 10;
/// Connections to endpoints that one of them can cause: half of 500, and what was under way.
const OF_EACH: usize = 260;

/// Opens streams and resets each once it has been seen, until the connection ends.
fn reset(address: SocketAddr) {
    let mut stream = frames::connect(address, PATIENCE).expect("listening");
    if stream.write_all(&frames::hello()).is_err() {
        return;
    }
    for number in 0..2000 {
        let id = 2 * number + 1;
        let open = frame(frames::HEADERS, frames::WHOLE, id, frames::GET);
        let reset = frame(frames::RST_STREAM, 0, id, &[0, 0, 0, 8]);
        let ping = frame(frames::PING, 0, 0, b"anything");
        if stream.write_all(&[open, ping.clone()].concat()).is_err() {
            return;
        }
        loop {
            match frames::read(&mut stream) {
                Ok(Some((frames::PING, ..))) => break,
                Ok(Some((frames::GOAWAY, ..)) | None) | Err(_) => return,
                Ok(Some(_)) => {}
            }
        }
        if stream.write_all(&reset).is_err() {
            return;
        }
    }
    panic!("two thousand streams were reset");
}

#[test]
fn streams_that_are_reset_at_once() {
    let bad = Endpoint::new(Does::Nothing);
    for target in Target::both(&bad, "") {
        let (before, accepted) = (target.most_memory(), bad.accepted());
        target.beside_a_client("rapid reset", || {
            for _ in 0..CONNECTIONS {
                reset(target.address());
            }
        });
        let dialled = bad.accepted() - accepted;
        println!("{}: {dialled} connections to the endpoint", target.name);
        assert!(
            dialled <= CONNECTIONS * OF_EACH,
            "{}: {dialled}",
            target.name
        );
        let counter = "http.web.downstream_rq_too_many_premature_resets";
        assert_eq!(target.stat(counter), CONNECTIONS as i64, "{}", target.name);
        let cost = target.most_memory() - before;
        assert!(!target.is_ours() || cost < 32, "{cost} MiB");
    }
}

/// All in one go: nothing of a stream is begun that is over before anybody saw it.
#[test]
fn streams_that_are_reset_in_one_breath() {
    let bad = Endpoint::new(Does::Nothing);
    for target in Target::both(&bad, "") {
        let accepted = bad.accepted();
        target.beside_a_client("rapid reset in one breath", || {
            let streams = (0..5000).map(|number| {
                let id = 2 * number + 1;
                [
                    frame(frames::HEADERS, frames::WHOLE, id, frames::GET),
                    frame(frames::RST_STREAM, 0, id, &[0, 0, 0, 8]),
                ]
                .concat()
            });
            let mut stream = frames::connect(target.address(), PATIENCE).expect("listening");
            let sent = [frames::hello(), streams.collect::<Vec<_>>().concat()].concat();
            // It ends in the middle.
            let _ = stream.write_all(&sent);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let dialled = bad.accepted() - accepted;
        println!("{}: {dialled} connections to the endpoint", target.name);
        assert!(!target.is_ours() || dialled <= OF_EACH, "{dialled}");
    }
}

#[test]
fn answers_that_never_begin() {
    let bad = Endpoint::new(Does::Inform);
    for target in Target::both(&bad, "") {
        let before = target.most_memory();
        target.beside_a_client("1xx without end", || {
            // A client that reads nothing, and then one that does.
            let request = frame(frames::HEADERS, frames::WHOLE, 1, frames::GET);
            let sent = [frames::hello(), request].concat();
            let mut deaf = frames::connect(target.address(), PATIENCE).expect("listening");
            deaf.write_all(&sent).expect("sent");
            if target.is_ours() {
                let counted =
                    || (target.stat("cluster.bad.upstream_cx_protocol_error") >= 1).then_some(());
                assert!(eventually(PATIENCE, counted).is_ok());
            }
            let mut client = frames::connect(target.address(), PATIENCE).expect("listening");
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                .expect("sent");
            let status = final_status(&mut client, Duration::from_secs(3));
            println!("{}: a client was answered {status:?}", target.name);
            assert!(
                !target.is_ours() || status.as_deref() == Some("502"),
                "{status:?}"
            );
        });
        let cost = target.most_memory() - before;
        assert!(!target.is_ours() || cost < 32, "{cost} MiB");
    }
}

/// The status behind all 1xx, if it comes in that time.
fn final_status(stream: &mut impl Read, limit: Duration) -> Option<String> {
    let began = Instant::now();
    while began.elapsed() < limit {
        let head = weir_tests::http::read_head(stream).ok()??;
        let status = head.split(' ').nth(1)?;
        if !status.starts_with('1') {
            return Some(status.to_owned());
        }
    }
    None
}
