//! Resources from what the control plane sends to what connections use: bytes to message to runtime
//! type.

use divan::{Bencher, black_box};
use weir_api::xds::{
    codec,
    envoy::config::bootstrap::v3::{Bootstrap, bootstrap::StaticResources},
    json,
};
use weir_proxy::convert;

/// Two virtual hosts with routes by path, header and query.
const VIRTUAL_HOSTS: &str = include_str!("../../examples/bootstraps/virtual-hosts.yaml");
const TRANSPARENT: &str = include_str!("../../examples/bootstraps/transparent.yaml");

fn main() {
    divan::main();
}

fn example() -> StaticResources {
    let message = json::read_bootstrap(VIRTUAL_HOSTS).expect("an example");
    message.static_resources.expect("it has resources")
}

#[divan::bench]
fn listener_with_routes(bencher: Bencher<'_, '_>) {
    let any = codec::pack_listener(&example().listeners[0]);
    bencher.bench_local(|| {
        let message = codec::unpack_listener(black_box(&any)).expect("a listener");
        convert::listener(message).expect("supported")
    });
}

#[divan::bench]
fn cluster(bencher: Bencher<'_, '_>) {
    let any = codec::pack_cluster(&example().clusters[0]);
    bencher.bench_local(|| {
        let message = codec::unpack_cluster(black_box(&any)).expect("a cluster");
        convert::cluster(message).expect("supported")
    });
}

#[divan::bench(args = [1, 16, 1024])]
fn endpoints(bencher: Bencher<'_, '_>, count: usize) {
    let mut cluster = example().clusters.swap_remove(0);
    let mut assignment = cluster.load_assignment.take().expect("a static cluster");
    let endpoints = &mut assignment.endpoints[0].lb_endpoints;
    *endpoints = vec![endpoints[0].clone(); count];
    let any = codec::pack_cluster_load_assignment(&assignment);
    bencher.bench_local(|| {
        let message = codec::unpack_cluster_load_assignment(black_box(&any));
        convert::load_assignment(message.expect("endpoints")).expect("supported")
    });
}

/// Without reading the text, which is done once.
#[divan::bench]
fn bootstrap(bencher: Bencher<'_, '_>) {
    let message: Bootstrap = json::read_bootstrap(TRANSPARENT).expect("an example");
    bencher
        .with_inputs(|| message.clone())
        .bench_values(|message| convert::bootstrap(message).expect("an example"));
}
