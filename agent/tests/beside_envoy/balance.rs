//! Load balancing beside real Envoy: to which endpoint a client comes by its hash, and which share of the
//! calls each endpoint gets.

mod hashes;
mod keys;
mod shares;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use weir_tests::http;

use crate::proxies::{Ports, Proxy};

const PATIENCE: Duration = Duration::from_secs(30);

const BOOTSTRAP: &str = r#"
node: { id: proxy, cluster: proxies, locality: { region: r, zone: own } }
cluster_manager: { local_cluster_name: local }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: @ADMIN@ } } }
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: @LISTENER@ } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          use_remote_address: true
          http_filters: [{ name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
          route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [@ROUTES@] }] }
  clusters: [@CLUSTERS@]
"#;

/// A cluster of either proxy: its name, which begins the paths that lead to it, what it and its route say
/// beside that, and its localities.
#[derive(Default)]
struct Cluster {
    name: &'static str,
    fields: &'static str,
    route: &'static str,
    /// Hash policies of its route; the client's address if there is none.
    hash_policy: &'static str,
    localities: String,
}

/// Both proxies with the same clusters.
struct Pair {
    envoy: Proxy,
    weir: Proxy,
}

/// An endpoint that answers with its own name, as an `Endpoint`.
fn endpoint(name: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    http::serve_status(listener, "200 OK", "", name);
    format!(
        "{{ hostname: host-{name}, address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
         {port} }} }} }}"
    )
}

impl Pair {
    fn start(clusters: &[Cluster]) -> Self {
        let routes = clusters.iter().map(|cluster| {
            let Cluster { name, route, .. } = cluster;
            let hash_policy = match cluster.hash_policy {
                "" => "{ connection_properties: { source_ip: true } }",
                policies => policies,
            };
            format!(
                "{{ match: {{ prefix: /{name}/ }}, route: {{ cluster: {name}, {route} timeout: 10s, \
                 hash_policy: [{hash_policy}] }} }}"
            )
        });
        let messages = clusters.iter().map(|cluster| {
            let Cluster {
                name,
                fields,
                localities,
                ..
            } = cluster;
            format!(
                "{{ name: {name}, type: STATIC, {fields} load_assignment: {{ cluster_name: {name}, \
                 endpoints: [{localities}] }} }}"
            )
        });
        let bootstrap = BOOTSTRAP
            .replace("@ROUTES@", &routes.collect::<Vec<_>>().join(", "))
            .replace("@CLUSTERS@", &messages.collect::<Vec<_>>().join(", "));
        Self {
            envoy: Proxy::envoy(&bootstrap, Ports::free()),
            weir: Proxy::weir(&bootstrap, Ports::free()),
        }
    }
}

/// Who answers a client at 127.0.0.`client`.
fn ask(proxy: &Proxy, cluster: &str, client: u8) -> String {
    let address = (Ipv4Addr::LOCALHOST, proxy.port(false, false)).into();
    let client = Ipv4Addr::new(127, 0, 0, client).into();
    let answer = http::get_from(client, address, &format!("/{cluster}/"));
    answer.expect("an answer").body
}

/// How many percent of so many calls on one connection each endpoint answers; the status if nobody does.
fn shares(proxy: &Proxy, cluster: &str, calls: u32) -> BTreeMap<String, f64> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(false, false)));
    let mut stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut shares = BTreeMap::new();
    for _ in 0..calls {
        let request = format!("GET /{cluster}/ HTTP/1.1\r\nhost: h\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("written");
        let head = http::read_head(&mut stream).expect("a head");
        let head = head.expect("a head").to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length = length.lines().next().and_then(|length| length.parse().ok());
        let mut body = vec![0; length.expect("a length")];
        stream.read_exact(&mut body).expect("a body");
        let who = match head.split(' ').nth(1) {
            Some("200") => String::from_utf8(body).expect("a name"),
            status => status.unwrap_or_default().to_owned(),
        };
        *shares.entry(who).or_default() += 100.0 / f64::from(calls);
    }
    shares
}

/// The statistics of a cluster whose names begin like this.
fn stats(proxy: &Proxy, cluster: &str, prefix: &str) -> BTreeMap<String, u64> {
    let page = http::get(proxy.admin(), "/stats").expect("stats").body;
    let scope = format!("cluster.{cluster}.");
    let stats = page.lines().filter_map(|line| line.split_once(": "));
    stats
        .filter_map(|(name, value)| Some((name.strip_prefix(&scope)?, value)))
        .filter(|(name, _)| name.starts_with(prefix))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}
