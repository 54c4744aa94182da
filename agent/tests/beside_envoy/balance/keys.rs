//! To which endpoint a request comes by what is hashed of it: the same through both proxies.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use weir_tests::{envoy, http};

use super::{Cluster, PATIENCE, Pair, endpoint};
use crate::proxies::Proxy;

/// A cluster's name and policy, hash policies of its route, and what of a request differs from key to
/// key, in place of `@`: the rest of its path, and its header lines.
const CASES: &[(&str, &str, &str, &str)] = &[
    (
        "header",
        RING,
        "{ header: { header_name: x-user } }",
        "\nx-user: @",
    ),
    (
        "lines",
        MAGLEV,
        "{ header: { header_name: X-User } }",
        "\nx-user: b@\nx-user: a@",
    ),
    (
        "none",
        MAGLEV,
        "{ header: { header_name: x-none }, terminal: true }, { header: { header_name: x-user } }",
        "\nx-user: @",
    ),
    (
        "list",
        RING,
        "{ header: { header_name: accept } }",
        "\naccept: b@\naccept: a@",
    ),
    (
        "path",
        RING,
        r#"{ header: { header_name: ":path" } }"#,
        "@?a",
    ),
    (
        "authority",
        RING,
        "{ header: { header_name: host } }",
        "\nhost: h@",
    ),
    (
        "rewrite",
        MAGLEV,
        r#"{ header: { header_name: x-user, regex_rewrite: { pattern: { regex: "^u([0-9]+)-.*" }, substitution: "\\1" } } }"#,
        "\nx-user: u@-ignored",
    ),
    (
        "cookie",
        MAGLEV,
        "{ cookie: { name: user } }",
        "\ncookie: a=b; user=\"@\"; user=other",
    ),
    (
        "kept",
        RING,
        "{ cookie: { name: user, ttl: 60s } }",
        "\ncookie: a=b\ncookie:  user=@",
    ),
    (
        "query",
        RING,
        "{ query_parameter: { name: user } }",
        "?a=b&user=@&user=c",
    ),
    (
        "combined",
        MAGLEV,
        "{ header: { header_name: a } }, { query_parameter: { name: b } }, { header: { header_name: a } }",
        "?b=x@\na: y@",
    ),
    (
        "terminal",
        RING,
        "{ query_parameter: { name: b }, terminal: true }, { header: { header_name: a } }",
        "?b=x@\na: y",
    ),
    (
        "properties",
        RING,
        "{ connection_properties: {}, terminal: true }, { header: { header_name: a } }",
        "\na: y@",
    ),
    (
        "later",
        RING,
        "{ header: { header_name: a } }, { header: { header_name: none }, terminal: true }, { query_parameter: { name: b } }",
        "?b=x@\na: y@",
    ),
    ("own", OWN, "", "\nx-user: @"),
];

const RING: &str = "lb_policy: RING_HASH,";
const MAGLEV: &str = "lb_policy: MAGLEV,";
const OWN: &str = r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: p, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash,
    consistent_hashing_lb_config: { hash_policy: [{ header: { header_name: x-user }, terminal: true }, { query_parameter: { name: user } }] } } } }] },"#;

/// Clusters whose routes give clients cookies.
const GENERATED: &[(&str, &str, &str)] = &[
    ("session", RING, "{ cookie: { name: user, ttl: 0s } }"),
    (
        "lasting",
        MAGLEV,
        "{ cookie: { name: user, ttl: 3600.9s, path: /lasting } }",
    ),
    (
        "attributes",
        MAGLEV,
        "{ cookie: { name: user, ttl: 5s, path: /, attributes: [{ name: SameSite, value: Lax }, { name: Secure }] } }",
    ),
    (
        "two",
        RING,
        "{ cookie: { name: one, ttl: 5s } }, { cookie: { name: other, ttl: 0s } }",
    ),
    ("read", RING, "{ cookie: { name: user } }"),
    ("spread", "", "{ cookie: { name: user, ttl: 5s } }"),
    (
        "clusters",
        r#"load_balancing_policy: { policies: [{ typed_extension_config: { name: p, typed_config: {
    "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev,
    consistent_hashing_lb_config: { hash_policy: [{ cookie: { name: user, ttl: 5s } }] } } } }] },"#,
        "",
    ),
];

/// The same endpoints for all clusters.
fn localities() -> String {
    let endpoints = ["a", "b", "c", "d", "e"].map(|name| {
        let keyed =
            format!("metadata: {{ filter_metadata: {{ envoy.lb: {{ hash_key: {name} }} }} }}");
        format!("{{ {keyed}, endpoint: {} }}", endpoint(name))
    });
    format!("{{ lb_endpoints: [{}] }}", endpoints.join(", "))
}

/// A connection to a proxy.
struct Client(TcpStream);

impl Client {
    fn new(proxy: &Proxy) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(false, false)));
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    /// The endpoint that answers, and the cookies that it sets. `request`: the rest of the path, and
    /// header lines.
    fn ask(&mut self, cluster: &str, request: &str) -> (String, Vec<String>) {
        let (path, lines) = request.split_once('\n').unwrap_or((request, ""));
        let host = if lines.contains("host:") {
            ""
        } else {
            "host: h\r\n"
        };
        let lines: String = lines.lines().map(|line| format!("{line}\r\n")).collect();
        let request = format!("GET /{cluster}/{path} HTTP/1.1\r\n{host}{lines}\r\n");
        self.0.write_all(request.as_bytes()).expect("written");
        let head = http::read_head(&mut self.0)
            .expect("a head")
            .expect("a head");
        let field = |name: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            values
                .map(|(_, value)| value.to_owned())
                .collect::<Vec<_>>()
        };
        let length = field("content-length").pop().expect("a length");
        let mut body = vec![0; length.parse().expect("a length")];
        self.0.read_exact(&mut body).expect("a body");
        (
            String::from_utf8(body).expect("a name"),
            field("set-cookie"),
        )
    }
}

#[test]
fn a_request_comes_to_the_endpoint_that_envoy_takes() {
    if !envoy::available() {
        return;
    }
    let localities = localities();
    let clusters = CASES.iter().map(|(name, fields, hash_policy, _)| Cluster {
        name,
        fields,
        hash_policy,
        localities: localities.clone(),
        ..Cluster::default()
    });
    let local = Cluster {
        name: "local",
        ..Cluster::default()
    };
    let pair = Pair::start(&clusters.chain([local]).collect::<Vec<_>>());
    let (mut envoy, mut weir) = (Client::new(&pair.envoy), Client::new(&pair.weir));
    let mut wrong = Vec::new();
    for (name, _, _, request) in CASES {
        let mut seen = BTreeSet::new();
        for key in 0..30 {
            let request = request.replace('@', &key.to_string());
            let (envoys, ours) = (envoy.ask(name, &request), weir.ask(name, &request));
            if ours != envoys {
                wrong.push(format!("{name} {request:?}: {ours:?}, Envoy {envoys:?}"));
            }
            seen.insert(envoys.0);
        }
        assert!(
            seen.len() > 2 || *name == "own",
            "{name}: requests are spread: {seen:?}"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a cookie says but for its value, and its value.
fn without_value(cookie: &str) -> (String, String) {
    let (before, rest) = cookie.split_once('"').expect("a value");
    let (value, after) = rest.split_once('"').expect("a value");
    (format!("{before}{after}"), value.to_owned())
}

#[test]
fn clients_are_given_the_cookies_that_envoy_gives_them() {
    if !envoy::available() {
        return;
    }
    let localities = localities();
    let clusters = GENERATED.iter().map(|(name, fields, hash_policy)| Cluster {
        name,
        fields,
        hash_policy,
        localities: localities.clone(),
        ..Cluster::default()
    });
    let local = Cluster {
        name: "local",
        ..Cluster::default()
    };
    let pair = Pair::start(&clusters.chain([local]).collect::<Vec<_>>());
    for (name, _, _) in GENERATED {
        let (mut envoy, mut weir) = (Client::new(&pair.envoy), Client::new(&pair.weir));
        let (_, envoys) = envoy.ask(name, "");
        let (first, ours) = weir.ask(name, "");
        let [said, ours_said] = [&envoys, &ours].map(|cookies| -> Vec<_> {
            let said = cookies.iter().map(|cookie| without_value(cookie));
            // The value is of both ends of the connection, which are others for each proxy.
            said.map(|(said, value)| (said, value.len())).collect()
        });
        assert_eq!(ours_said, said, "{name}");
        // Another request of the connection, and one that has the cookies on another connection.
        let [again, back] = [(&mut envoy, &envoys), (&mut weir, &ours)].map(|(client, cookies)| {
            assert_eq!(client.ask(name, "").1, *cookies, "{name}");
            let pairs: Vec<_> = cookies
                .iter()
                .filter_map(|it| it.split(';').next())
                .collect();
            format!("\ncookie: {}", pairs.join("; "))
        });
        for request in [&again, &back] {
            let both = [&pair.envoy, &pair.weir].map(|proxy| Client::new(proxy).ask(name, request));
            if !ours.is_empty() {
                assert_eq!(both[1], both[0], "{name} {request}");
                assert!(both[0].1.is_empty(), "{name}: a cookie is given once");
            }
        }
        if !ours.is_empty() {
            assert_eq!(
                weir.ask(name, &back).0,
                first,
                "{name}: the cookie leads to its endpoint"
            );
        }
    }
}
