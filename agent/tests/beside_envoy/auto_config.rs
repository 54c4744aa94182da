//! `auto_config` beside real Envoy: ALPN decides what an endpoint is spoken to in. The endpoints are
//! listeners of the same proxy, which say in a header what they were spoken to in.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use weir_tests::{certificates::Authority, envoy, eventually::eventually, http};

use crate::proxies::{Ports, Proxy};

const BOOTSTRAP: &str = include_str!("auto_config.bootstrap.yaml");
/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Endpoints, and the protocols that they know.
const ENDPOINTS: [(&str, &str); 4] = [
    ("both", "alpn_protocols: [ h2, http/1.1 ],"),
    ("new", "alpn_protocols: [ h2 ],"),
    ("old", "alpn_protocols: [ http/1.1 ],"),
    ("none", ""),
];

fn start(proxy: fn(&str, Ports) -> Proxy) -> Proxy {
    let authority = Authority::new("root");
    let certificate = authority.issue(&["a.test"]);
    let ports = ENDPOINTS.map(|_| crate::proxies::free_port());
    let mut bootstrap = BOOTSTRAP
        .replace("@CERTIFICATE@", &certificate.inline())
        .replace("@CA@", &weir_tests::certificates::inline(&authority.pem));
    for ((name, protocols), port) in ENDPOINTS.iter().zip(ports) {
        bootstrap = bootstrap
            .replace(&format!("@PORT:{name}@"), &port.to_string())
            .replace(&format!("@ALPN:{name}@"), protocols);
    }
    proxy(&bootstrap, Ports::free())
}

impl Proxy {
    /// The status and what the endpoint was spoken to in.
    fn spoken(&self, path: &str, more: &str) -> String {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(false, false)));
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("{path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n{more}");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let answer = http::Answer::of(&text).expect("HTTP");
        let mut lines = answer.head.lines();
        let spoken = lines.find(|line| line.to_lowercase().starts_with("x-spoken"));
        format!("{} {}", answer.status, spoken.unwrap_or("by nobody"))
    }

    fn connections(&self, cluster: &str) -> BTreeMap<String, u64> {
        let page = http::get(self.admin(), "/stats").expect("stats").body;
        let lines = page.lines().filter_map(|line| {
            let name = line.strip_prefix(&format!("cluster.{cluster}."))?;
            let (name, value) = name.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        // Envoy counts such a connection twice in `upstream_cx_total`.
        let shown = [
            "upstream_cx_http1_total",
            "upstream_cx_http2_total",
            "upstream_rq_total",
            "upstream_rq_completed",
        ];
        lines
            .filter(|(name, _)| shown.contains(&name.as_str()))
            .collect()
    }
}

#[test]
fn a_handshake_decides_what_is_spoken_and_the_next_requests_go_by_it() {
    if !envoy::available() {
        return;
    }
    let [envoy, weir] = [start(Proxy::envoy), start(Proxy::weir)];
    for (cluster, _) in ENDPOINTS {
        for _ in 0..3 {
            let ask = |proxy: &Proxy| {
                let of_get = proxy.spoken(&format!("GET /{cluster}"), "\r\n");
                let body = "content-length: 5\r\n\r\nhello";
                let of_post = proxy.spoken(&format!("POST /{cluster}"), body);
                (of_get, of_post)
            };
            let (ours, theirs) = (ask(&weir), ask(&envoy));
            assert_eq!(ours, theirs, "left: Weir, right: Envoy: {cluster}");
            let spoken = match cluster {
                "both" | "new" => "200 x-spoken: HTTP/2",
                _ => "200 x-spoken: HTTP/1.1",
            };
            assert_eq!(ours, (spoken.to_owned(), spoken.to_owned()), "{cluster}");
        }
        // An endpoint counts a request as done at its own time.
        let alike = || {
            let counts = [&weir, &envoy].map(|proxy| proxy.connections(cluster));
            (counts[0] == counts[1]).then_some(())
        };
        let counts = [&weir, &envoy].map(|proxy| proxy.connections(cluster));
        assert!(eventually(PATIENCE, alike).is_ok(), "{cluster}: {counts:?}");
    }
}

#[test]
fn requests_that_come_together_share_a_connection_or_have_one_each() {
    if !envoy::available() {
        return;
    }
    let weir = start(Proxy::weir);
    for (cluster, _) in ENDPOINTS {
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let path = format!("GET /{cluster}");
                    let answer = weir.spoken(&path, "\r\n");
                    assert!(answer.starts_with("200 "), "{cluster}: {answer}");
                });
            }
        });
        let counts = weir.connections(cluster);
        let both = ["upstream_cx_http1_total", "upstream_cx_http2_total"].map(|it| counts[it]);
        match cluster {
            "both" | "new" => assert_eq!(both, [0, 1], "{cluster}"),
            _ => assert!(both[0] >= 1 && both[1] == 0, "{cluster}: {both:?}"),
        }
    }
}
