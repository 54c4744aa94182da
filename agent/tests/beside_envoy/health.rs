//! Health of hosts beside real Envoy: who gets which share of traffic, and who is ejected as an outlier.

mod aggregate;
mod asking;
mod checks;
mod consequences;
mod outliers;
mod shares;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use serde_json::Value;
use weir_tests::http;

use crate::proxies::{Ports, Proxy, free_port};

/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster of either proxy: its name, what it says beside its endpoints, and the localities of these.
struct Cluster {
    name: String,
    fields: String,
    localities: String,
}

/// Both proxies with the same clusters; bytes go to the last one.
struct Pair([Proxy; 2]);

/// An endpoint that answers with this status and its own name. Its address.
fn endpoint(status: &str, name: &str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    http::serve_status(listener, status, "", name);
    address
}

/// One that says this to each connection's first request, and then closes it; nothing: it never
/// answers.
fn saying(words: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let Some(words) = words else {
                silent.push(stream);
                continue;
            };
            if let Ok(Some(_)) = http::read_head(&mut stream) {
                // The proxy may have gone.
                let _ = stream.write_all(words.as_bytes());
            }
        }
    });
    address
}

/// One that refuses connections.
fn refusing() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// A body without the lengths of its chunks, if it has them.
fn whole(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((length, after)) = rest.split_once("\r\n") {
        let Ok(length) = usize::from_str_radix(length, 16) else {
            return body.to_owned();
        };
        whole.push_str(&after[..length]);
        rest = after[length..].trim_start_matches("\r\n");
    }
    match whole.as_str() {
        "" => body.to_owned(),
        _ => whole,
    }
}

/// An `LbEndpoint`.
fn lb_endpoint(address: SocketAddr, health: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "{{ health_status: {health}, endpoint: {{ address: {{ socket_address: {{ address: {ip}, \
         port_value: {port} }} }} }} }}"
    )
}

impl Pair {
    fn start(clusters: &[Cluster]) -> Self {
        let bootstrap = Self::bootstrap(clusters);
        Self([
            Proxy::envoy(&bootstrap, Ports::free()),
            Proxy::weir(&bootstrap, Ports::free()),
        ])
    }

    fn bootstrap(clusters: &[Cluster]) -> String {
        let routes = clusters.iter().map(|cluster| {
            let name = &cluster.name;
            format!(
                "{{ match: {{ prefix: /{name}/ }}, route: {{ cluster: {name}, timeout: 10s }} }}"
            )
        });
        let messages = clusters.iter().map(|cluster| {
            let Cluster {
                name,
                fields,
                localities,
            } = cluster;
            format!(
                "{{ name: {name}, type: STATIC, {fields} load_assignment: \
                 {{ cluster_name: {name}, endpoints: [{localities}] }} }}"
            )
        });
        let bytes = &clusters.last().expect("a cluster").name;
        include_str!("health.bootstrap.yaml")
            .replace("@ROUTES@", &routes.collect::<Vec<_>>().join(", "))
            .replace("@CLUSTERS@", &messages.collect::<Vec<_>>().join(", "))
            .replace("@BYTES@", bytes)
    }
}

impl Proxy {
    /// What a cluster answers.
    fn ask(&self, cluster: &str) -> http::Answer {
        let address = (Ipv4Addr::LOCALHOST, self.port(false, false)).into();
        http::get(address, &format!("/{cluster}/")).expect("an answer")
    }

    /// Asks a cluster in gRPC's name, whatever comes of it.
    fn ask_by_grpc(&self, cluster: &str) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(false, false)));
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        let request = format!(
            "GET /{cluster}/ HTTP/1.1\r\nhost: h\r\ncontent-type: application/grpc\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = Vec::new();
        // It may be cut short.
        let _ = stream.read_to_end(&mut answer);
    }

    /// Whether an endpoint was reached for bytes: what refuses is closed or reset at once.
    fn connect(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(true, false)));
        let mut stream = TcpStream::connect(address).expect("the proxy listens");
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("a timeout");
        // Where nobody is reached, either may already have reset.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: bytes\r\n\r\n");
        matches!(http::read_head(&mut stream), Ok(Some(_)))
    }

    /// The stats of a cluster whose names begin like this.
    fn stats(&self, cluster: &str, prefix: &str) -> BTreeMap<String, String> {
        let page = http::get(self.admin(), "/stats").expect("stats").body;
        let stats = page.lines().filter_map(|line| line.split_once(": "));
        let scope = format!("cluster.{cluster}.");
        stats
            .filter_map(|(name, value)| Some((name.strip_prefix(&scope)?, value)))
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    pub(crate) fn stat(&self, cluster: &str, name: &str) -> u64 {
        let stats = self.stats(cluster, name);
        stats
            .get(name)
            .map_or(0, |value| value.parse().expect("a number"))
    }

    /// What `/clusters` says in JSON of the health of the hosts of a cluster.
    fn health_statuses(&self, cluster: &str) -> Vec<Value> {
        let page = http::get(self.admin(), "/clusters?format=json").expect("clusters");
        let all: Value = serde_json::from_str(&whole(&page.body)).expect("JSON");
        let mut statuses = all["cluster_statuses"].as_array().into_iter().flatten();
        let of = statuses.find(|status| status["name"] == cluster);
        let hosts = of.and_then(|status| status["host_statuses"].as_array());
        let hosts = hosts.into_iter().flatten();
        hosts.map(|host| host["health_status"].clone()).collect()
    }

    /// The health flags of the hosts of a cluster, by their ports.
    fn flags(&self, cluster: &str) -> BTreeMap<u16, String> {
        let page = http::get(self.admin(), "/clusters").expect("clusters").body;
        let prefix = format!("{cluster}::127.0.0.1:");
        let lines = page.lines().filter_map(|line| line.strip_prefix(&prefix));
        let flags = lines.filter_map(|line| line.split_once("::health_flags::"));
        flags
            .map(|(port, flags)| (port.parse().expect("a port"), flags.to_owned()))
            .collect()
    }
}
