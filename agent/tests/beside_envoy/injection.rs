//! Names of TLS clients, authorities, paths and headers that would end a line of the log, lead a redirect
//! elsewhere or add a header: what comes of each is what comes of it in Envoy.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use weir_tests::{envoy, eventually::eventually, frames};

use crate::proxies::{Ports, Proxy};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Heads without their last line.
const REQUESTS: &[&[u8]] = &[
    b"GET /a\"b HTTP/1.1\r\nhost: h\r\nx-a: v\"\\q\r\n",
    b"GET /a HTTP/1.1\r\nhost: h\r\nx-a: t\tt\r\n",
    b"GET /a\x01b HTTP/1.1\r\nhost: h\r\n",
    b"GET / HTTP/1.1\r\nhost: h\r\nx-a: a\x0bb\r\n",
    b"GET / HTTP/1.1\r\nhost: h\r\nx-a: a\x00b\r\n",
    b"GET / HTTP/1.1\r\nhost: h\r\nx-a: a\x7fb\r\n",
    b"GET / HTTP/1.1\r\nhost: evil.example/x?y=\r\n",
    b"GET /moved HTTP/1.1\r\nhost: evil.example/x?y=\r\n",
    b"GET /moved HTTP/1.1\r\nhost: evil.example\\x\r\n",
    b"GET /moved HTTP/1.1\r\nhost: h\"i\r\n",
    b"GET x/y://evil.example/ HTTP/1.1\r\nhost: h\r\n",
    b"GET /moved\"<>\\ HTTP/1.1\r\nhost: h\r\n",
    b"GET /moved/%0d%0aset-cookie:x HTTP/1.1\r\nhost: h\r\n",
    b"GET //evil.example/%2f.. HTTP/1.1\r\nhost: h\r\n",
];

/// Names that clients of TLS ask for.
const NAMES: &[&[u8]] = &[
    b"ok.example",
    b"A.Example",
    b"under_score",
    b"a\nname \"b\"",
    b"a\"b c",
    b"a\r\nb",
    b"1.2.3.4",
];

/// The status line of the answer, and what it says of elsewhere and of us.
fn answer(address: SocketAddr, head: &[u8]) -> Vec<String> {
    let mut stream = frames::connect(address, PATIENCE).expect("listening");
    let sent = [head, b"connection: close\r\n\r\n"].concat();
    stream.write_all(&sent).expect("sent");
    let mut answer = Vec::new();
    // It may be reset behind the answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let shown = |line: &&str| {
        ["HTTP/1.1", "location:", "x-said:", "set-cookie:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    head.split("\r\n")
        .filter(shown)
        .map(str::to_owned)
        .collect()
}

/// A ClientHello that asks for the name.
fn client_hello(name: &[u8]) -> Vec<u8> {
    let sized = |size: usize, bytes: &[u8]| {
        let length = (bytes.len() as u32).to_be_bytes();
        [&length[4 - size..], bytes].concat()
    };
    let names = sized(2, &[&[0], &*sized(2, name)].concat());
    let extensions = sized(2, &[&[0, 0], &*sized(2, &names)].concat());
    let body = [
        &[3, 3][..],
        &[0; 32],
        &[0],
        &[0, 2, 0x13, 0x01],
        &[1, 0],
        &extensions,
    ]
    .concat();
    let handshake = [&[1][..], &sized(3, &body)].concat();
    [&[22, 3, 1][..], &sized(2, &handshake)].concat()
}

/// The lines of the log once there are so many.
fn lines(log: &Path, count: usize) -> Vec<String> {
    let look = || {
        let text = fs::read_to_string(log).ok()?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    };
    eventually(PATIENCE, look).expect("lines")
}

#[test]
fn what_clients_write_is_no_line_no_header_and_leads_nowhere_else() {
    if !envoy::available() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut both = Vec::new();
    for name in ["envoy", "weir"] {
        let log = directory.path().join(name);
        let bootstrap = include_str!("injection.bootstrap.yaml");
        let bootstrap = bootstrap.replace("@LOG@", &log.display().to_string());
        let proxy = match name {
            "envoy" => Proxy::envoy(&bootstrap, Ports::free()),
            _ => Proxy::weir(&bootstrap, Ports::free()),
        };
        let at = |strict| SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(strict, false)));
        // Whoever looked whether it listens has left a line of TLS as well, sooner or later.
        let answers: Vec<_> = REQUESTS
            .iter()
            .map(|head| answer(at(false), head))
            .collect();
        for name in NAMES {
            let mut stream = frames::connect(at(true), PATIENCE).expect("listening");
            stream.write_all(&client_hello(name)).expect("sent");
            let _ = stream.read(&mut [0]);
        }
        let mut lines = lines(&log, REQUESTS.len() + NAMES.len());
        lines.retain(|line| line != "name \"-\"");
        both.push((answers, lines));
    }
    for (number, head) in REQUESTS.iter().enumerate() {
        let head = String::from_utf8_lossy(head);
        assert_eq!(both[1].0[number], both[0].0[number], "{head:?}");
    }
    // Connections end in their own order.
    both.iter_mut().for_each(|(_, lines)| lines.sort());
    assert_eq!(both[1].1, both[0].1);
    assert_eq!(both[1].1.len(), REQUESTS.len() + NAMES.len());
}
