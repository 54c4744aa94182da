//! A dynamic forward proxy beside real Envoy: both ask one server of names, reach the same endpoints,
//! refuse alike, and count alike.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use weir_tests::{
    dns::{Answer, Server, ips},
    envoy,
    eventually::eventually,
    http,
};

use crate::{
    l4::client_hello,
    proxies::{Ports, Proxy},
};

/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How names are asked for.
const CARES: &str = "typed_dns_resolver_config: { name: cares, typed_config: { \"@type\": \
     type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \
     resolvers: [ { socket_address: { address: 127.0.0.1, port_value: @DNS@ } } ], \
     dns_resolver_options: { no_default_search_domain: true } } }";
const A: &str = "127.72.0.1";
const B: &str = "127.72.0.2";

/// Both proxies, Envoy first, and whom they ask.
struct Pair {
    names: Server,
    proxies: [Proxy; 2],
    /// Of all endpoints.
    port: u16,
}

/// Answers each request, or whatever else is sent, with its own address and the first line and host.
fn answer(mut stream: TcpStream, address: &str) -> Option<()> {
    let mut first = [0];
    if stream.peek(&mut first).ok()? == 1 && first[0] == 0x16 {
        // All of it: what is left unread would make the end a reset.
        let mut hello = vec![0; client_hello("a.test", &[]).len() / 2];
        stream.read_exact(&mut hello).ok()?;
        stream.write_all(address.as_bytes()).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        while stream.read(&mut first).ok()? > 0 {}
        return Some(());
    }
    while let Some(head) = http::read_head(&mut stream).ok()? {
        let host = head
            .lines()
            .find(|line| line.to_lowercase().starts_with("host:"));
        let host = host.unwrap_or_default().to_lowercase();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let body = format!(
            "{address} {path} {}",
            host.split(':').nth(1).unwrap_or_default().trim()
        );
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).ok()?;
    }
    Some(())
}

/// Starts endpoints at one port of each address.
fn endpoints() -> u16 {
    let bound = (0..100).find_map(|_| {
        let port = crate::proxies::free_port();
        let bind = |address: &str| TcpListener::bind((address, port)).ok();
        Some((port, [(bind(A)?, A), (bind(B)?, B)]))
    });
    let (port, listeners) = bound.expect("a port that is free at both addresses");
    for (listener, address) in listeners {
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer(stream, address));
            }
        });
    }
    port
}

// === impl Pair ===

impl Pair {
    /// `cache` are more of the cache's settings, `cluster` is more of the cluster's.
    fn start(names: Server, cache: &[&str], cluster: &str) -> Self {
        Self::with(names, cache, cluster, ("dns_lookup_family: V4_ONLY", None))
    }

    /// The same with another family and, perhaps, another way to ask.
    fn asking(names: Server, cache: &[&str], how: (&str, Option<&str>)) -> Self {
        Self::with(names, cache, "", how)
    }

    fn with(
        names: Server,
        cache: &[&str],
        cluster: &str,
        (family, resolver): (&str, Option<&str>),
    ) -> Self {
        let port = endpoints();
        let bootstrap = include_str!("forward_proxy.bootstrap.yaml")
            .replace(
                "@OPTIONS@",
                match cluster.is_empty() {
                    true => "",
                    false => "allow_insecure_cluster_options: true,",
                },
            )
            .replace("@FAMILY@", family)
            .replace("@RESOLVER@", resolver.unwrap_or(CARES))
            .replace("@CACHE@", &cache.join(&format!("\n{}", " ".repeat(16))))
            .replace(
                "@CLUSTER@",
                if cluster.is_empty() {
                    "connect_timeout: 5s"
                } else {
                    cluster
                },
            )
            .replace("@PORT@", &port.to_string())
            .replace("@DNS@", &names.address.port().to_string());
        let proxies = [
            Proxy::envoy(&bootstrap, Ports::free()),
            Proxy::weir(&bootstrap, Ports::free()),
        ];
        Self {
            names,
            proxies,
            port,
        }
    }

    /// A server that knows both endpoints.
    fn names() -> Server {
        let names = Server::start(Ipv4Addr::LOCALHOST);
        names.has("a.test", &[A]);
        names.has("b.test", &[B]);
        names
    }

    /// What both say alike of something; fails where they do not.
    fn alike<T: PartialEq + std::fmt::Debug>(&self, what: impl Fn(&Proxy) -> T) -> T {
        let [envoy, weir] = self.proxies.each_ref().map(what);
        assert_eq!(weir, envoy, "left: Weir, right: Envoy");
        weir
    }

    /// What both answer to a request for a host.
    fn ask(&self, path: &str, host: &str) -> (u16, String) {
        let host = host.replace("PORT", &self.port.to_string());
        self.alike(|it| it.forward(path, &host, ""))
    }

    /// Waits until a stat of both is what `is` wants.
    fn until(&self, stat: &str, is: impl Fn(u64) -> bool) {
        for proxy in &self.proxies {
            let reached = eventually(PATIENCE, || is(proxy.count(stat)).then_some(()));
            assert!(reached.is_ok(), "{stat}: {}", proxy.count(stat));
        }
    }
}

impl Proxy {
    fn forward(&self, path: &str, host: &str, headers: &str) -> (u16, String) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(false, false)));
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let answer = http::Answer::of(&text).expect("HTTP");
        (answer.status, answer.body)
    }

    /// What comes of a connection that asks for a name by SNI.
    fn connect_to(&self, name: &str) -> String {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(true, false)));
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&client_hello(name, &[])).expect("sent");
        let mut heard = Vec::new();
        // A connection that leads nowhere is reset.
        let _ = stream.read_to_end(&mut heard);
        String::from_utf8_lossy(&heard).into_owned()
    }

    fn counts(&self, prefix: &str) -> BTreeMap<String, u64> {
        let page = http::get(self.admin(), "/stats").expect("stats").body;
        let lines = page.lines().filter_map(|line| line.split_once(": "));
        let lines = lines.filter(|(name, _)| name.starts_with(prefix));
        let numbers =
            lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        // Of names that are kept in files, which is refused.
        numbers
            .filter(|(name, _)| !name.ends_with("cache_load"))
            .collect()
    }

    fn count(&self, name: &str) -> u64 {
        self.counts(name).get(name).copied().unwrap_or_default()
    }

    fn cached(&self) -> BTreeMap<String, u64> {
        self.counts("dns_cache.")
    }

    fn forward_members(&self) -> BTreeMap<String, u64> {
        self.counts("cluster.forward.membership_")
    }

    /// Hosts in `/clusters`: the address and the name of each.
    fn hosts(&self) -> Vec<String> {
        let page = http::get(self.admin(), "/clusters").expect("clusters").body;
        let hosts = page.lines().filter(|line| line.contains("::hostname::"));
        let mut hosts: Vec<_> = hosts.map(str::to_owned).collect();
        hosts.sort();
        hosts
    }
}

#[test]
fn requests_go_to_the_name_that_they_ask_for() {
    if !envoy::available() {
        return;
    }
    let pair = Pair::start(Pair::names(), &["dns_refresh_rate: 60s"], "");
    let (a, b) = ("a.test:PORT", "b.test:PORT");
    assert_eq!(pair.ask("/", a).1, format!("{A} / a.test"));
    assert_eq!(pair.ask("/", b).1, format!("{B} / b.test"));
    pair.alike(Proxy::cached);
    // A second time nobody asks, and the cluster asks by itself.
    pair.ask("/again", a);
    pair.ask("/without", a);
    pair.ask("/literal", a);
    let to_b = format!("x-host: b.test:{}\r\nx-host: c.test\r\n", pair.port);
    let headed = pair.alike(|it| it.forward("/header", "a.test", &to_b));
    assert_eq!(headed, (200, format!("{B} /header b.test")));
    pair.ask("/header", a);
    // An address is a name that nobody is asked about, and letters count.
    pair.ask("/", &format!("{A}:PORT"));
    pair.ask("/", "B.TEST:PORT");
    // The port is that of plain HTTP where nobody says one.
    assert_eq!(pair.ask("/", "a.test").0, 503);
    pair.alike(Proxy::cached);
    pair.alike(Proxy::forward_members);
    let hosts = pair.alike(Proxy::hosts);
    assert_eq!(hosts.len(), 5, "{hosts:?}");
}

#[test]
fn a_name_that_is_not_found_is_answered_so() {
    if !envoy::available() {
        return;
    }
    let names = Pair::names();
    names.set("fails.test", Answer::Code(2));
    names.set("silent.test", Answer::Silence);
    names.has("none.test", &[]);
    let cache = ["dns_query_timeout: 0.5s"];
    let pair = Pair::start(names, &cache, "");
    for name in ["gone.test", "fails.test", "silent.test", "none.test"] {
        let answer = pair.ask("/", name);
        assert_eq!(answer, (503, "DNS resolution failure".to_owned()), "{name}");
        let answer = pair.ask("/without", name);
        assert_eq!(answer, (503, "no healthy upstream".to_owned()), "{name}");
    }
    let counts = pair.alike(Proxy::cached);
    assert_eq!(counts["dns_cache.names.dns_query_timeout"], 1, "{counts:?}");
    pair.alike(Proxy::forward_members);
    pair.alike(|it| it.count("cluster.forward.upstream_cx_none_healthy"));
    // Other names are none the worse for it.
    assert_eq!(pair.ask("/", "a.test:PORT").0, 200);
}

#[test]
fn names_and_those_who_wait_for_them_are_bounded() {
    if !envoy::available() {
        return;
    }
    let names = Pair::names();
    names.set("silent.test", Answer::Silence);
    let cache = [
        "dns_query_timeout: 3600s",
        "max_hosts: 2",
        "dns_cache_circuit_breaker: { max_pending_requests: 1 }",
    ];
    let pair = Pair::start(names, &cache, "");
    assert_eq!(pair.ask("/", "a.test:PORT").0, 200);
    let waiting = pair.proxies.each_ref().map(|proxy| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(false, false)));
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        let request = b"GET / HTTP/1.1\r\nhost: silent.test\r\n\r\n";
        stream.write_all(request).expect("sent");
        stream
    });
    pair.until("dns_cache.names.circuit_breakers.rq_pending_open", |open| {
        open == 1
    });
    for path in ["/", "/without"] {
        assert_eq!(pair.ask(path, "silent.test").0, 503);
    }
    // A name that is known does not wait, but the filter asks nothing.
    assert_eq!(pair.ask("/without", "a.test:PORT").0, 200);
    assert_eq!(pair.ask("/", "a.test:PORT").0, 503);
    drop(waiting);
    pair.until("dns_cache.names.circuit_breakers.rq_pending_open", |open| {
        open == 0
    });
    let full = pair.ask("/", "b.test:PORT");
    assert_eq!(full, (503, "DNS cache overflow".to_owned()));
    assert_eq!(pair.ask("/without", "b.test:PORT").0, 503);
    pair.alike(Proxy::cached);
}

#[test]
fn names_are_looked_up_again_and_forgotten() {
    if !envoy::available() {
        return;
    }
    let names = Pair::names();
    names.set("a.test", Answer::Addresses(ips(&[A]), 1));
    names.set("fails.test", Answer::Code(2));
    let cache = [
        "dns_min_refresh_rate: 1s",
        "host_ttl: 2s",
        "dns_failure_refresh_rate: { base_interval: 0.02s, max_interval: 0.02s }",
        "preresolve_hostnames: [ { address: a.test, port_value: @PORT@ } ]",
    ];
    let pair = Pair::start(names, &cache, "");
    pair.until("cluster.forward.membership_total", |total| total == 1);
    pair.alike(Proxy::hosts);
    pair.names.set("a.test", Answer::Addresses(ips(&[B]), 1));
    pair.until("dns_cache.names.host_address_changed", |changed| {
        changed == 2
    });
    assert_eq!(pair.ask("/", "a.test:PORT").1, format!("{B} / a.test"));
    pair.alike(Proxy::hosts);
    // What is not answered changes nothing, and is asked again soon.
    pair.names.set("a.test", Answer::Code(2));
    pair.until("dns_cache.names.dns_query_failure", |failures| failures > 1);
    // Nobody uses it.
    pair.until("dns_cache.names.num_hosts", |hosts| hosts == 0);
    pair.until("cluster.forward.membership_total", |total| total == 0);
    pair.alike(|it| it.count("dns_cache.names.host_removed"));
    // One that was never found is forgotten as well.
    assert_eq!(pair.ask("/", "fails.test").0, 503);
    pair.until("dns_cache.names.num_hosts", |hosts| hosts == 0);
}

#[test]
fn a_request_looks_failures_up_again_where_nobody_else_does() {
    if !envoy::available() {
        return;
    }
    let names = Pair::names();
    names.set("fails.test", Answer::Code(2));
    let cache = ["disable_dns_refresh_on_failure: true"];
    let pair = Pair::start(names, &cache, "");
    assert_eq!(pair.ask("/", "fails.test:PORT").0, 503);
    pair.names.has("fails.test", &[A]);
    assert_eq!(pair.ask("/", "fails.test:PORT").0, 200);
    pair.alike(Proxy::cached);
}

#[test]
fn addresses_that_are_filtered_out_count_as_none() {
    if !envoy::available() {
        return;
    }
    for filter in [
        "{ ranges: [ { address_prefix: 127.72.0.1, prefix_len: 32 } ] }",
        "{ ranges: [ { address_prefix: 127.72.0.2, prefix_len: 32 } ], invert_match: true }",
    ] {
        let names = Pair::names();
        names.has("both.test", &[A, B]);
        let pair = Pair::start(names, &[&format!("resolved_address_filter: {filter}")], "");
        assert_eq!(pair.ask("/", "a.test:PORT").0, 503);
        assert_eq!(pair.ask("/", "b.test:PORT").0, 200);
        let both = pair.ask("/", "both.test:PORT");
        assert_eq!(both.1, format!("{B} / both.test"));
        pair.alike(Proxy::cached);
    }
}

#[test]
fn connections_go_to_the_name_in_sni() {
    if !envoy::available() {
        return;
    }
    let pair = Pair::start(Pair::names(), &["dns_refresh_rate: 60s"], "");
    for (name, to) in [
        ("a.test", A),
        ("b.test", B),
        ("gone.test", ""),
        ("a.test", A),
    ] {
        assert_eq!(pair.alike(|it| it.connect_to(name)), to, "{name}");
    }
    pair.alike(Proxy::cached);
    pair.alike(Proxy::forward_members);
}

#[test]
fn a_cache_says_how_it_asks() {
    if !envoy::available() {
        return;
    }
    let over_tcp = "dns_resolution_config: { resolvers: [ { socket_address: { address: 127.0.0.1, \
                    port_value: @DNS@ } } ], dns_resolver_options: \
                    { use_tcp_for_dns_lookups: true, no_default_search_domain: true } }";
    for (how, is_tcp, asked) in [
        ("dns_lookup_family: V6_ONLY", false, 28),
        ("dns_lookup_family: V4_ONLY", false, 1),
        (over_tcp, true, 1),
    ] {
        let names = Pair::names();
        names.set("fails.test", Answer::Code(2));
        let (family, resolver) = match is_tcp {
            true => ("dns_lookup_family: V4_ONLY", Some(how)),
            false => (how, None),
        };
        let pair = Pair::asking(names, &["dns_refresh_rate: 0.05s"], (family, resolver));
        pair.ask("/", "a.test:PORT");
        let names = &pair.names;
        assert_eq!(names.over_tcp() > 0, is_tcp, "{how}");
        assert!(
            names.asked().contains(&("a.test".to_owned(), asked)),
            "{how}"
        );
        // What fails is asked for again when it is said.
        pair.ask("/", "fails.test");
        for proxy in &pair.proxies {
            let failures = || proxy.count("dns_cache.names.dns_query_failure");
            let reached = eventually(PATIENCE, || (failures() > 2).then_some(()));
            assert!(reached.is_ok(), "{how}: {}", failures());
        }
    }
}

#[test]
fn a_cluster_that_says_so_need_not_check_who_answers() {
    if !envoy::available() {
        return;
    }
    // Without allow_insecure_cluster_options, neither would start.
    let options = "typed_extension_protocol_options: \
                   { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": \
                   type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
                   explicit_http_config: { http_protocol_options: {} } } }";
    let pair = Pair::start(Pair::names(), &["dns_refresh_rate: 60s"], options);
    assert_eq!(pair.ask("/", "a.test:PORT").1, format!("{A} / a.test"));
}
