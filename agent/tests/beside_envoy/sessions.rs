//! Stateful sessions: what clients are told of the endpoint that served them, byte for byte, and to which
//! endpoint they come with that, the same as through Envoy.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use weir_tests::{envoy, http};

use crate::{
    proxies::{Ports, Proxy, free_port},
    stats,
};

const BOOTSTRAP: &str = include_str!("sessions.bootstrap.yaml");
const PATIENCE: Duration = Duration::from_secs(30);
/// Endpoints, and what discovery says of their health.
const ENDPOINTS: [&str; 4] = ["a", "b", "c", "d"];
/// Counters that must be equal.
const COUNTED: [&str; 3] = [
    "http.web.stateful_session.",
    "cluster.all.upstream_cx_none_healthy",
    "cluster.all.upstream_rq_4xx",
];

/// What a client sees of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: String,
    body: String,
    cookies: Vec<String>,
    session: Vec<String>,
}

fn ask(proxy: &Proxy, path: &str, header: &str) -> Answer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(false, false)));
    let mut stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let header = if header.is_empty() {
        String::new()
    } else {
        format!("{header}\r\n")
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let values = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.to_owned()).collect()
    };
    Answer {
        status: head.split(' ').nth(1).unwrap_or_default().to_owned(),
        body: body.to_owned(),
        cookies: values("set-cookie"),
        session: values("x-session"),
    }
}

/// The cookie that leads to where it was set.
fn back(answer: &Answer) -> String {
    let cookie = answer.cookies.first().expect("a cookie");
    let pair = cookie.split(';').next().expect("a pair");
    format!("cookie: other=x; {pair}")
}

#[test]
fn sessions_are_kept_where_envoy_keeps_them() {
    if !envoy::available() {
        return;
    }
    let mut addresses = HashMap::new();
    let bootstrap = ENDPOINTS.iter().fold(BOOTSTRAP.to_owned(), |text, name| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        http::serve_status(listener, "200 OK", "", name);
        addresses.insert(*name, format!("127.0.0.1:{port}"));
        text.replace(&format!("@{name}@"), &port.to_string())
    });
    let refused = free_port();
    let gone = format!("127.0.0.1:{refused}");
    let bootstrap = bootstrap.replace("@REFUSED@", &refused.to_string());
    let (envoy, weir) = (
        Proxy::envoy(&bootstrap, Ports::free()),
        Proxy::weir(&bootstrap, Ports::free()),
    );
    let mut wrong = Vec::new();
    let mut both = |path: &str, header: &str| {
        let (theirs, ours) = (ask(&envoy, path, header), ask(&weir, path, header));
        if ours != theirs {
            wrong.push(format!(
                "{path} {header}:\n  Envoy {theirs:?}\n  ours {ours:?}"
            ));
        }
        theirs
    };
    let unknown = both("/only-gone/", "");
    for name in ENDPOINTS {
        let told = both(&format!("/only-{name}/"), "");
        assert_eq!(told.cookies.len(), 1, "{told:?}");
        let header = both(&format!("/only-{name}/header/"), "");
        let header = format!("x-session: {}", header.session.first().expect("a session"));
        for path in [
            "/all/",
            "/strict/",
            "/gone/",
            "/any/",
            "/nobody/",
            "/off/",
            "/nothing/",
            "/second/s/x",
            "/second/x",
            "/path/x/y",
            "/path/xy",
            "/path",
        ] {
            both(path, &back(&told));
        }
        both("/header/", &header);
        both("/off/", &header);
    }
    for header in [
        "",
        "cookie: sticky=",
        "cookie: sticky=####",
        "cookie: sticky=\"MS4yLjMuNDo4MA==\"",
        "cookie: sticky=MS4yLjMuNDo4MA",
        "cookie: sticky=Z29uZQ==",
        "x-session: MS4yLjMuNDo4MA==",
        "x-session: none",
        &back(&unknown),
    ] {
        for path in [
            "/all/",
            "/strict/",
            "/gone/",
            "/header/",
            "/strict-header/",
            "/direct",
        ] {
            both(path, header);
        }
    }
    // Hosts that requests name, whatever their health; the first that is there.
    for name in ENDPOINTS {
        let at = &addresses[name];
        for hosts in [
            at.clone(),
            format!(" , 10.9.9.9:1, {at} ,x"),
            format!("{gone},{at}"),
        ] {
            let named = both("/named/", &format!("x-hosts: {hosts}"));
            assert_eq!(named.body, name, "{hosts}");
        }
        let twice = format!("x-hosts: {at}\r\nx-hosts: 10.9.9.9:1");
        both("/named/", &twice);
    }
    assert_eq!(both("/told/", "").body, "c");
    for header in [
        "",
        "x-hosts: ",
        "x-hosts: nobody",
        "x-hosts: 10.9.9.9:1",
        "x-other: @",
    ] {
        let header = header.replace('@', &addresses["b"]);
        both("/named/", &header);
    }
    for (path, header) in [("/lasting/", ""), ("/lasting/x", "cookie: sticky=CgEx")] {
        // Its value has the time in it.
        let [theirs, ours] = [&envoy, &weir].map(|proxy| {
            let mut answer = ask(proxy, path, header);
            for cookie in &mut answer.cookies {
                let (before, rest) = cookie.split_once('"').expect("a value");
                let (value, after) = rest.split_once('"').expect("a value");
                *cookie = format!("{before}{}{after}", value.len());
            }
            answer
        });
        if ours != theirs {
            wrong.push(format!(
                "{path} {header}:\n  Envoy {theirs:?}\n  ours {ours:?}"
            ));
        }
    }
    for (writer, reader) in [(&envoy, &weir), (&weir, &envoy)] {
        let told = ask(writer, "/lasting/", "");
        let again = ask(reader, "/lasting/", &back(&told));
        assert_eq!(
            (again.body.as_str(), again.cookies.len()),
            ("a", 0),
            "{told:?}"
        );
    }
    let (theirs, ours) = (stats::read(envoy.admin()), stats::read(weir.admin()));
    let is_counted = |name: &&String| COUNTED.iter().any(|known| name.starts_with(known));
    for name in theirs.keys().chain(ours.keys()).filter(is_counted) {
        let (theirs, ours) = (theirs.get(name), ours.get(name));
        if theirs.unwrap_or(&0) != ours.unwrap_or(&0) {
            wrong.push(format!("{name}: Envoy {theirs:?}, ours {ours:?}"));
        }
    }
    assert!(theirs.keys().any(|name| name.starts_with(COUNTED[0])));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
