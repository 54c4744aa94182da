//! What is decided for each connection and request: which protocol, filter chain, route and
//! endpoint.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use divan::{Bencher, black_box};
use weir_api::xds::json;
use weir_proxy::{
    cluster::{Cluster, LoadBalancerContext, Tried},
    config::{
        Bootstrap, LoadAssignment,
        cluster::{ClusterDiscovery, LbPolicy},
        endpoint::{Endpoint, LocalityEndpoints},
        http::RouteSource,
        listener::{FilterChainMatch, NetworkFilter, TransportProtocol},
        load_balancing::{LeastRequest, Maglev},
    },
    convert,
    filter::listener::inspector::{http, tls},
    http::{
        head::{Fields, RequestHead},
        route,
    },
    listener::filter_chain::{self, ConnectionFacts},
    net::address::{OriginalDst, RemoteAddr},
    runtime::Runtime,
};

const VIRTUAL_HOSTS: &str = include_str!("../../examples/bootstraps/virtual-hosts.yaml");
const REQUEST: &[u8] = b"GET /path HTTP/1.1\r\nhost: a.example\r\nuser-agent: curl/7.88.1\r\n\r\n";
const CLIENT_HELLO: [u8; 48] = client_hello();

fn main() {
    divan::main();
}

/// No extensions: the shortest there is.
const fn client_hello() -> [u8; 48] {
    let mut hello = [0; 48];
    let head = [22, 3, 1, 0, 43, 1, 0, 0, 39, 3, 3];
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    // Behind 32 random bytes and an empty session id: one cipher suite, one compression.
    hello[45] = 2;
    hello
}

fn config(yaml: &str) -> Bootstrap {
    let message = json::read_bootstrap(yaml).expect("an example");
    convert::bootstrap(message).expect("an example")
}

#[divan::bench]
fn detect_http() -> bool {
    http::inspect(black_box(REQUEST)) == http::inspect(&[])
}

#[divan::bench]
fn detect_tls() -> bool {
    tls::inspect(black_box(&CLIENT_HELLO)) == tls::inspect(&[])
}

#[divan::bench(args = [1, 16, 256])]
fn choose_filter_chain(bencher: Bencher<'_, '_>, chains: u16) {
    let chains: Vec<FilterChainMatch> = (0..chains)
        .map(|port| FilterChainMatch {
            destination_port: Some(8000 + port),
            ..FilterChainMatch::default()
        })
        .collect();
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let destination = OriginalDst(address("10.0.0.1:8000"));
    let source = RemoteAddr(address("10.0.0.2:40000"));
    let protocols = ["http/1.1"];
    bencher.bench(|| {
        let facts = ConnectionFacts {
            destination: black_box(destination),
            source,
            direct_source: source,
            server_name: "",
            transport_protocol: TransportProtocol::RawBuffer,
            application_protocols: &protocols,
        };
        filter_chain::choose(chains.iter(), &facts)
    });
}

/// A request to `shop.example/`.
struct Request;

impl Fields for Request {
    fn any_line<'h>(&'h self, _: &str, _: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        false
    }

    fn any_name<'h>(&'h self, _: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        false
    }
}

impl RequestHead for Request {
    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        "/cart/items?page=2"
    }

    fn authority(&self) -> &str {
        "shop.example"
    }

    fn protocol(&self) -> &'static str {
        "HTTP/1.1"
    }
}

#[divan::bench]
fn find_route(bencher: Bencher<'_, '_>) {
    let config = config(VIRTUAL_HOSTS);
    let chains = config
        .listeners
        .iter()
        .flat_map(|listener| &listener.filter_chains);
    let routes = chains
        .flat_map(|chain| &chain.filters)
        .find_map(|filter| match filter {
            NetworkFilter::HttpConnectionManager(manager) => match &manager.routes {
                RouteSource::Inline(routes) => Some(routes),
                RouteSource::Rds(_) => None,
            },
            _ => None,
        });
    let routes = routes.expect("the example has routes");
    let runtime = Runtime::default();
    bencher.bench(|| route::find(black_box(routes), &Request, &runtime, 0).is_some());
}

/// A cluster with so many endpoints, whose first one differs from another's by its weight.
fn endpoints(count: u16, first_weight: u32) -> Arc<LoadAssignment> {
    let endpoint = |number: u16| Endpoint {
        weight: if number == 0 { first_weight } else { 1 },
        ..Endpoint::at(([10, 0, (number >> 8) as u8, number as u8], 80).into())
    };
    Arc::new(LoadAssignment {
        cluster_name: "c".to_owned(),
        localities: vec![LocalityEndpoints {
            endpoints: (0..count).map(endpoint).map(Arc::new).collect(),
            ..LocalityEndpoints::default()
        }],
        ..LoadAssignment::default()
    })
}

fn cluster(lb_policy: LbPolicy, endpoints: &Arc<LoadAssignment>) -> Cluster {
    let mut clusters = config(VIRTUAL_HOSTS).clusters;
    let mut cluster = clusters.swap_remove(0);
    let config = Arc::get_mut(&mut cluster).expect("not shared yet");
    config.lb_policy = lb_policy;
    config.discovery = ClusterDiscovery::Static(Arc::clone(endpoints));
    Cluster::new(&cluster, Arc::default(), None)
}

fn pick(bencher: Bencher<'_, '_>, lb_policy: LbPolicy, endpoints: &Arc<LoadAssignment>) {
    let cluster = cluster(lb_policy, endpoints);
    let destination = SocketAddr::from(([10, 0, 0, 1], 80));
    let tried = Tried::default();
    // Numbers that are far apart, as hashes of clients are.
    let mut hash = 1_u64;
    bencher.bench_local(|| {
        hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let context = LoadBalancerContext {
            hash: Some(hash),
            ..LoadBalancerContext::new(black_box(destination), &tried)
        };
        cluster.pick(&context).is_some()
    });
}

#[divan::bench(args = [3, 100, 1000])]
fn pick_round_robin(bencher: Bencher<'_, '_>, count: u16) {
    pick(bencher, LbPolicy::RoundRobin, &endpoints(count, 1));
}

#[divan::bench(args = [3, 100, 1000])]
fn pick_round_robin_by_weight(bencher: Bencher<'_, '_>, count: u16) {
    pick(bencher, LbPolicy::RoundRobin, &endpoints(count, 2));
}

#[divan::bench(args = [3, 100, 1000])]
fn pick_least_request(bencher: Bencher<'_, '_>, count: u16) {
    let policy = LbPolicy::LeastRequest(LeastRequest::default());
    pick(bencher, policy, &endpoints(count, 1));
}

#[divan::bench(args = [3, 100, 1000])]
fn pick_random(bencher: Bencher<'_, '_>, count: u16) {
    pick(bencher, LbPolicy::Random, &endpoints(count, 1));
}

#[divan::bench(args = [3, 100, 1000])]
fn pick_maglev(bencher: Bencher<'_, '_>, count: u16) {
    let policy = LbPolicy::Maglev(Maglev::default());
    pick(bencher, policy, &endpoints(count, 1));
}

/// What a worker does with an update in which one of so many endpoints has another weight.
#[divan::bench(args = [100, 10_000])]
fn apply_endpoints(bencher: Bencher<'_, '_>, count: u16) {
    let (one, other) = (endpoints(count, 1), endpoints(count, 2));
    let cluster = cluster(LbPolicy::RoundRobin, &one);
    let mut is_other = false;
    bencher.bench_local(|| {
        is_other = !is_other;
        cluster.set_endpoints(black_box(if is_other { &other } else { &one }));
    });
}
