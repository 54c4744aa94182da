//! Memory that no other bound keeps: whole heads of requests that an endpoint does not answer.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
};

use weir_tests::{eventually::eventually, frames, http};

use crate::{
    PATIENCE,
    endpoint::{Does, Endpoint},
    target::Target,
};

/// MiB of heap that the proxy may have; the actions are those of a sidecar.
const HEAP: u64 = 96;
/// Requests, each of which holds three times its head of 250 KiB while it waits.
const REQUESTS: usize = 300;

fn overload_manager() -> String {
    let (heap, name) = (HEAP << 20, "envoy.resource_monitors.fixed_heap");
    let action = |action: &str, trigger: &str| {
        format!(
            "  - {{ name: envoy.overload_actions.{action}, triggers: [{{ name: {name}, {trigger} }}] }}\n"
        )
    };
    let scaled = "scaled: { scaling_threshold: 0.9, saturation_threshold: 0.98 }";
    let actions = [
        action("shrink_heap", "threshold: { value: 0.8 }"),
        action("stop_accepting_requests", scaled),
        action("reject_incoming_connections", scaled),
    ];
    format!(
        "overload_manager:\n  refresh_interval: 0.05s\n  resource_monitors:\n  - {{ name: {name}, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig, \
         max_heap_size_bytes: {heap} }} }}\n  actions:\n{}",
        actions.concat()
    )
}

/// What became of a request.
enum Fate {
    /// It waits for its answer.
    Waits(TcpStream),
    /// It was answered 503.
    Refused,
    /// Its connection was closed, or reset.
    Rejected,
}

/// Sends a request, and waits until it has come to the endpoint or has been answered.
fn request(target: &Target, bad: &Endpoint, head: &[u8]) -> Fate {
    let before = bad.accepted();
    let mut stream = frames::connect(target.address(), PATIENCE).expect("listening");
    if stream.write_all(head).is_err() {
        return Fate::Rejected;
    }
    stream.set_nonblocking(true).expect("set");
    let mut answer = [0; 12];
    let look = || match stream.peek(&mut answer) {
        Ok(0) => Some(false),
        Ok(n) => (n == answer.len()).then_some(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            (bad.accepted() > before).then_some(false)
        }
        Err(_) => Some(false),
    };
    let is_answered = eventually(PATIENCE, look).expect("something comes of it");
    match (is_answered, bad.accepted() > before) {
        (true, _) => {
            assert_eq!(&answer, b"HTTP/1.1 503");
            Fate::Refused
        }
        (false, true) => Fate::Waits(stream),
        (false, false) => Fate::Rejected,
    }
}

#[test]
fn memory_is_kept_for_those_who_are_served_already() {
    weir_guard::raise_open_files().expect("files for a thousand connections");
    let bad = Endpoint::new(Does::Nothing);
    let head = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
        "a".repeat(250 * 1024)
    );
    for target in Target::both(&bad, &overload_manager()) {
        // Envoy's heap is that of a larger program: what comes of it there is no model.
        if !target.is_ours() {
            continue;
        }
        let (mut held, mut refused, mut rejected) = (Vec::new(), 0, 0);
        for _ in 0..REQUESTS {
            match request(&target, &bad, head.as_bytes()) {
                Fate::Waits(stream) => held.push(stream),
                Fate::Refused => refused += 1,
                Fate::Rejected => rejected += 1,
            }
        }
        let (most, taken) = (target.most_memory(), held.len());
        println!(
            "{most} MiB at most; {taken} requests taken, {refused} refused, {rejected} rejected"
        );
        assert!(
            refused > 0 && rejected > 0,
            "{taken}, {refused}, {rejected}"
        );
        assert!(target.stat("http.web.downstream_rq_overload_close") >= refused);
        assert!(most < 2 * HEAP, "{most} MiB");
        assert!(target.is_ready(), "and says so");
        // It ends with its cause.
        drop(held);
        let served = || {
            let answer = http::get(target.address(), "/good").ok()?;
            (answer.status == 200).then_some(())
        };
        assert!(
            eventually(PATIENCE, served).is_ok(),
            "{} MiB",
            target.memory()
        );
        let action = "overload.envoy.overload_actions.stop_accepting_requests";
        let over = || (target.stat(&format!("{action}.scale_percent")) == 0).then_some(());
        assert!(
            eventually(PATIENCE, over).is_ok(),
            "{} MiB",
            target.memory()
        );
        println!("{} MiB after", target.memory());
    }
}
