//! Allocations of the data plane per request, stream and connection: counted, and held.
//!
//! The client and the endpoint of these tests allocate nothing while it is counted, and the control
//! thread does not run, so what is counted is the worker's.

use std::{alloc::System, net::SocketAddr, sync::Arc};

use serde_json::Map;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_api::xds::json;
use weir_proxy::{
    cluster::{Cluster, LoadBalancerContext, Tried},
    config::subset::MetadataMatch,
    convert,
};
use weir_tests::certificates::{Authority, inline};

use crate::{
    frugal::{Http1, Http2, Tcp},
    proxy::{Config, Upstream},
};

#[path = "allocations/frugal.rs"]
mod frugal;
#[expect(dead_code, reason = "shared with the tests of HTTP/2")]
#[path = "http2/proxy.rs"]
mod proxy;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Rounds before anything is counted: connections are open, buffers and tables have their size.
const WARM_UP: usize = 200;
/// Rounds that are counted, enough for a timer or a table that grows once not to matter.
const ROUNDS: usize = 1000;

/// Connections whose memory is counted: few enough for any limit of open files.
const OPEN: usize = 100;
/// Bytes a connection holds that was used once and is idle, 4.8 KiB: 4908 when this was written, of which
/// 3700 are its futures.
const IDLE: f64 = 4915.0;

/// Allocations per round; one that grows or moves memory counts as well.
fn allocations(mut round: impl FnMut()) -> f64 {
    (0..WARM_UP).for_each(|_| round());
    let region = Region::new(ALLOCATOR);
    (0..ROUNDS).for_each(|_| round());
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / ROUNDS as f64
}

#[expect(clippy::print_stdout, reason = "with --nocapture, the numbers")]
fn claim(what: &str, counted: f64, most: f64) {
    println!("{what}: {counted:.2} allocations");
    // Tables that grow and timers make a fraction; one more each round makes one.
    assert!(
        counted < most + 0.5,
        "{what}: {counted:.2} allocations, at most {most} were meant"
    );
}

/// Bytes that the worker's heap holds for each connection that was used once and is open.
fn held(mut connect: impl FnMut() -> Http1) -> f64 {
    let mut open = Vec::with_capacity(2 * OPEN);
    open.extend((0..OPEN).map(|_| connect()));
    let region = Region::new(ALLOCATOR);
    open.extend((0..OPEN).map(|_| connect()));
    let change = region.change();
    let held = change.bytes_allocated - change.bytes_deallocated;
    held as f64 / OPEN as f64
}

/// A proxy that speaks mutual TLS with another, which passes on to `endpoint`.
fn mutual_tls(endpoint: SocketAddr) -> (proxy::Proxy, proxy::Proxy) {
    let authority = Authority::new("root");
    let context = |kind: &str, more: &str| {
        let certificate = authority.issue(&["peer.example"]).inline();
        let root = inline(&authority.pem);
        format!(
            "transport_socket: {{ name: tls, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext, {more} \
             common_tls_context: {{ tls_certificates: [ {certificate} ], validation_context: \
             {{ trusted_ca: {root} }} }} }} }}"
        )
    };
    let chain = context("Downstream", "require_client_certificate: true,");
    let text = Config::to(Upstream::Http1, endpoint).yaml(0);
    let text = text.replace("- filters:", &format!("- {chain}\n      filters:"));
    let far = frugal::start(&text);
    let more = format!(", {}", context("Upstream", "sni: peer.example,"));
    let near = Config::routes("{ match: { prefix: / }, route: { cluster: up } }");
    let near = near.cluster("up", Upstream::Http1, far.address(), &more);
    (near.start(), far)
}

/// Allocations of a pick from a cluster with these fields: three endpoints, one of which weighs more.
fn pick(fields: &str) -> f64 {
    let endpoint = |port: u16, weight: u32| {
        format!(
            "{{ load_balancing_weight: {weight}, metadata: {{ filter_metadata: {{ envoy.lb: {{ v: 1 }} }} \
             }}, endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} \
             }} }} }}"
        )
    };
    let endpoints = [endpoint(1, 1), endpoint(2, 1), endpoint(3, 2)].join(", ");
    let text = format!(
        "static_resources: {{ clusters: [{{ name: c, type: STATIC, {fields}, load_assignment: {{ \
         cluster_name: c, endpoints: [{{ load_balancing_weight: 1, lb_endpoints: [{endpoints}] }}] }} }}] }}"
    );
    let message = json::read_bootstrap(&text).expect("a bootstrap");
    let config = convert::bootstrap(message).expect("a bootstrap");
    let cluster = Cluster::new(&config.clusters[0], Arc::default(), None);
    let wanted = Map::from_iter([("v".to_owned(), 1.into())]);
    let (wanted, tried) = (MetadataMatch::new(&wanted), Tried::default());
    let context = LoadBalancerContext {
        metadata_match: Some(&wanted),
        hash: Some(7),
        ..LoadBalancerContext::new(None, &tried)
    };
    allocations(|| assert!(cluster.pick(&context).is_some()))
}

/// One test, because what is counted is of the whole process.
#[test]
fn the_hot_path_allocates_next_to_nothing() {
    let listen = |serve: fn(std::net::TcpStream)| -> SocketAddr { frugal::serve(serve) };

    let proxy = Config::to(Upstream::Http1, listen(Http1::serve)).start();
    let mut client = Http1::connect(proxy.address());
    claim(
        "HTTP/1.1 request on a kept connection",
        allocations(|| client.exchange()),
        0.0,
    );

    let watched = Config::routes("{ match: { prefix: / }, route: { cluster: up } }");
    let endpoint = listen(Http1::serve);
    let watched = watched.cluster("up", Upstream::Http1, endpoint, ", outlier_detection: {}");
    let watched = watched.start();
    let mut client = Http1::connect(watched.address());
    claim(
        "HTTP/1.1 request to a cluster whose outliers are detected",
        allocations(|| client.exchange()),
        0.0,
    );

    let address = proxy.address();
    let idle = held(|| {
        let mut client = Http1::connect(address);
        client.exchange();
        client
    });
    assert!(idle <= IDLE, "an idle connection holds {idle} bytes");

    for fields in [
        "lb_policy: ROUND_ROBIN",
        "lb_policy: LEAST_REQUEST",
        "lb_policy: RANDOM",
        "lb_policy: RING_HASH",
        "lb_policy: MAGLEV, common_lb_config: { consistent_hashing_lb_config: { hash_balance_factor: 150 } }",
        "common_lb_config: { locality_weighted_lb_config: {} }",
        "lb_subset_config: { subset_selectors: [{ keys: [v] }] }",
    ] {
        claim(&format!("a pick, {fields}"), pick(fields), 0.0);
    }

    let near = mutual_tls(listen(Http1::serve));
    let mut client = Http1::connect(near.0.address());
    claim(
        "HTTP/1.1 request through two proxies, mutual TLS between them",
        allocations(|| client.exchange()),
        0.0,
    );

    let proxy = Config::to(Upstream::Http2, listen(Http2::serve)).start();
    let mut client = Http2::connect(proxy.address());
    // Most are of `h2` and `http`: header maps, URI, frames.
    claim("HTTP/2 stream", allocations(|| client.exchange()), 10.0);

    let proxy = frugal::tcp_proxy(listen(Tcp::serve));
    let address = proxy.address();
    // One of them is the dial, which the connection outlives.
    claim(
        "TCP connection",
        allocations(|| Tcp::exchange(address)),
        7.0,
    );
}
