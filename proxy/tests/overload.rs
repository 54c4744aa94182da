//! While memory is short, probes of the pod's node get through.

use std::{net::IpAddr, time::Duration};

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Options, Server},
};
use weir_tests::{eventually::eventually, http};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const BOOTSTRAP: &str = r#"
overload_manager:
  refresh_interval: 0.1s
  resource_monitors:
  - name: envoy.resource_monitors.fixed_heap
    typed_config: { "@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 1000 }
  actions:
  - name: envoy.overload_actions.stop_accepting_requests
    triggers: [{ name: envoy.resource_monitors.fixed_heap, threshold: { value: 0.9 } }]
static_resources:
  listeners:
  - name: in
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts: [{ name: any, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200 } }] }]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

#[test]
fn probes_of_the_node_get_through_while_memory_is_short() {
    let (node, client): (IpAddr, IpAddr) = ([127, 0, 0, 9].into(), [127, 0, 0, 8].into());
    let message = json::read_bootstrap(BOOTSTRAP).expect("YAML");
    let bootstrap = convert::bootstrap(message.clone()).expect("supported");
    let mut options = Options::new(message);
    options.read_only.probes = vec![node];
    let server = Server::start(&bootstrap, options).expect("a free port");
    let handle = server.handle();
    let socket = &handle.snapshot().listeners["in"].sockets[0];
    let address = socket.local_addr().expect("bound");
    // The control thread, which ends with the process.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let server = server.run(std::future::pending());
        runtime.expect("a runtime").block_on(server)
    });
    let status = |from| {
        http::get_from(from, address, "/")
            .expect("an answer")
            .status
    };
    let refused = || (status(client) == 503).then_some(());
    eventually(PATIENCE, refused).expect("memory is short");
    assert_eq!(status(node), 200);
    assert_eq!(status(client), 503);
    handle.stop();
}
