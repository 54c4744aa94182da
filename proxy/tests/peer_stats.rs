//! Names of stats and metrics beside those of real Envoy: whoever has a dashboard for one can use
//! it for the other. What is ours alone is listed here, so that a new name is a decision.
#![allow(clippy::print_stdout)]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Options, Server},
};

/// A listener with an HTTP connection manager, one with tcp_proxy, and a cluster nobody serves.
const BOOTSTRAP: &str = r#"
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - match: { path: /direct }
                direct_response: { status: 404 }
              - match: { prefix: / }
                route: { cluster: web }
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  - name: tcp
    address: { socket_address: { address: 127.0.0.2, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: raw
          cluster: web
  clusters:
  - name: web
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 1 } } }
"#;

/// Beginnings of names that Envoy does not have, or not for this configuration.
const OURS: &[&str] = &[
    // Only there with an ADS cluster.
    "control_plane.",
    "cluster_manager.cds.",
    "listener_manager.lds.",
    // Envoy counts these by route configuration and by cluster.
    "cluster_manager.eds.",
    "listener_manager.rds.",
    // Envoy counts these by secret.
    "sds.",
    // What Envoy does not do.
    "discovery.",
    "listener.ADDRESS.detected_",
    "listener.ADDRESS.server_first_held",
    "listener.ADDRESS.on_demand_",
    "listener.ADDRESS.loop_refused",
    "listener.ADDRESS.original_dst_",
    "cluster.web.lb_lower_priority",
    "http.web.rq_mirror_skipped",
    "server.panics",
    "auxiliary.",
    // Envoy shows these once there was such a response.
    "cluster.web.upstream_rq_1xx",
    "cluster.web.upstream_rq_2xx",
    "cluster.web.upstream_rq_3xx",
    "cluster.web.upstream_rq_4xx",
    "cluster.web.upstream_rq_time",
];

struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        // Already gone, at worst.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("write");
    let mut answer = Vec::new();
    // Either may reset after it has said everything.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        unchunk(body)
    } else {
        body.to_owned()
    }
}

fn unchunk(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        text.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    text
}

/// Makes the same calls to either proxy, and reads names of stats and metrics.
fn observe(admin: SocketAddr) -> (BTreeSet<String>, BTreeSet<String>) {
    let listeners = get(admin, "/listeners");
    let address = |name: &str| -> SocketAddr {
        let line = listeners
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}::")));
        line.expect("a listener").parse().expect("an address")
    };
    get(address("web"), "/direct");
    get(address("web"), "/other");
    drop(TcpStream::connect(address("tcp")).expect("connect"));
    let stats = get(admin, "/stats");
    let names = stats
        .lines()
        .filter_map(|line| line.rsplit_once(": ").map(|(name, _)| name));
    let metrics = get(admin, "/stats/prometheus");
    let samples = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    (
        names.map(plain_name).collect(),
        samples.map(plain_metric).collect(),
    )
}

/// Without what differs by nature: addresses, and the quantiles, which hold colons.
fn plain_name(name: &str) -> String {
    let name = name.split(": ").next().unwrap_or(name);
    name.replace("127.0.0.1_0", "ADDRESS")
        .replace("127.0.0.2_0", "ADDRESS")
}

/// `name{label,label}`: the values of labels do not matter here.
fn plain_metric(sample: &str) -> String {
    let (name, rest) = sample.split_once('{').expect("labels");
    let labels = rest.rsplit_once('}').expect("labels").0;
    let names = labels
        .split("\",")
        .filter_map(|label| label.split_once('=').map(|(n, _)| n));
    format!("{name}{{{}}}", names.collect::<Vec<_>>().join(","))
}

fn envoy(directory: &Path) -> Option<(Envoy, SocketAddr)> {
    let (config, admin) = (directory.join("bootstrap.yaml"), directory.join("admin"));
    fs::write(&config, BOOTSTRAP).expect("bootstrap");
    let child = Command::new("envoy")
        .arg("-c")
        .arg(&config)
        .arg("--admin-address-path")
        .arg(&admin)
        .args(["--concurrency", "1", "--disable-hot-restart"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut envoy = match child {
        Ok(child) => Envoy(child),
        Err(error) => {
            weir_tests::skip::skip(weir_tests::skip::Need::Peers, &format!("envoy: {error}"));
            return None;
        }
    };
    let mut log = BufReader::new(envoy.0.stderr.take().expect("standard error"));
    let mut said = String::new();
    while !said.contains("starting main dispatch loop") {
        let read = log.read_line(&mut said).expect("a log");
        assert!(read > 0, "envoy ended: {said}");
    }
    // Somebody must read on, or Envoy blocks.
    thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    let address = fs::read_to_string(admin).expect("admin address");
    Some((envoy, address.trim().parse().expect("an address")))
}

fn ours() -> (BTreeSet<String>, BTreeSet<String>) {
    let source = json::read_bootstrap(BOOTSTRAP).expect("bootstrap");
    let bootstrap = convert::bootstrap(source.clone()).expect("bootstrap");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(async {
        let server = Server::start(&bootstrap, Options::new(source)).expect("a server");
        let admin = server.admin_address().expect("an admin interface");
        let (done, finished) = tokio::sync::oneshot::channel();
        thread::spawn(move || done.send(observe(admin)));
        let mut observed = None;
        let wait = async { observed = Some(finished.await) };
        server.run(wait).await.expect("a run");
        observed.expect("an end").expect("an observation")
    })
}

#[test]
fn names_are_those_of_envoy() {
    let directory = tempfile::tempdir().expect("directory");
    let Some((_envoy, admin)) = envoy(directory.path()) else {
        return;
    };
    let (their_stats, their_metrics) = observe(admin);
    let (our_stats, our_metrics) = ours();
    let is_ours = |name: &str| OURS.iter().any(|prefix| name.starts_with(prefix));
    let foreign: Vec<_> = our_stats
        .difference(&their_stats)
        .filter(|name| !is_ours(name))
        .collect();
    assert!(foreign.is_empty(), "Envoy has no such stats: {foreign:#?}");

    let as_metric = |prefix: &str| {
        format!(
            "envoy_{}",
            prefix
                .replace("ADDRESS.", "")
                .replace(".web.", ".")
                .replace('.', "_")
        )
    };
    let prefixes: Vec<String> = OURS.iter().map(|prefix| as_metric(prefix)).collect();
    let is_ours = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let foreign: Vec<_> = our_metrics
        .difference(&their_metrics)
        .filter(|name| !is_ours(name))
        .collect();
    assert!(
        foreign.is_empty(),
        "Envoy has no such metrics: {foreign:#?}"
    );

    for name in [
        "cluster.web.upstream_cx_total",
        "cluster.web.upstream_rq_503",
        "cluster.web.membership_total",
        "http.web.downstream_rq_4xx",
        "listener.ADDRESS.downstream_cx_total",
        "tcp.raw.downstream_cx_total",
        "server.live",
    ] {
        assert!(our_stats.contains(name), "we lack {name}");
    }
}
