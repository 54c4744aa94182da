//! The data plane as a client of a control plane that nobody here wrote: rust-control-plane, which
//! speaks the state-of-the-world variant.

#[path = "peer_xds_server/control_plane.rs"]
mod control_plane;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use control_plane::ControlPlane;
use tokio::sync::oneshot;
use weir_api::xds::{json, type_url};
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
};
use weir_tests::{
    eventually::eventually,
    skip::{Need, skip},
};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> Option<ControlPlane> {
    let program = control_plane::program();
    if program.is_none() {
        skip(
            Need::Peers,
            "there is no xds-server; `scripts/setup test` builds it",
        );
    }
    program.map(|program| ControlPlane::start(&program))
}

/// A data plane that stops when it is dropped.
struct Proxy {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Proxy {
    fn start(control_plane: SocketAddr, dynamic: &str, listeners: &str) -> Self {
        let port = control_plane.port();
        let text = format!(
            r#"
node: {{ id: test, cluster: test }}
dynamic_resources:
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    grpc_services: [ {{ envoy_grpc: {{ cluster_name: xds }} }} ]
{dynamic}
static_resources:
  listeners: [ {listeners} ]
  clusters:
  - {{ name: nobody, type: STATIC, connect_timeout: 1s }}
  - name: xds
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment: {{ cluster_name: xds, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address:
      {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }}
"#
        );
        let message = json::read_bootstrap(&text).expect(&text);
        let bootstrap = convert::bootstrap(message.clone()).expect(&text);
        let server = Server::start(&bootstrap, Options::new(message)).expect("a free port");
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let shutdown = async { drop(stopped.await) };
            let run = runtime.expect("a runtime").block_on(server.run(shutdown));
            run.expect("it serves");
        });
        Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where a listener listens, once there is one of that name.
    fn address(&self, listener: &str) -> SocketAddr {
        let look = || {
            let snapshot = self.handle.snapshot();
            let bound = snapshot.listeners.get(listener)?;
            bound.sockets[0].local_addr().ok()
        };
        eventually(PATIENCE, look).expect(listener)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Says its name to everybody, and closes.
fn upstream(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(name.as_bytes());
        }
    });
    address
}

/// What is said behind an address; empty if nothing is.
fn said(address: SocketAddr) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.read_to_string(&mut text);
    }
    text
}

fn until_said(address: SocketAddr, expected: &str) {
    let look = || (said(address) == expected).then_some(());
    eventually(PATIENCE, look).unwrap_or_else(|error| panic!("{expected:?}: {error}"));
}

fn listener(name: &str, address: SocketAddr, bind: bool, cluster: &str) -> (&'static str, String) {
    let (ip, port) = (address.ip(), address.port());
    let text = format!(
        r#"
name: {name}
address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
bind_to_port: {bind}
filter_chains:
- filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: {cluster}
      cluster: {cluster}
"#
    );
    (type_url::LISTENER, text)
}

fn cluster(name: &str, kind: &str) -> (&'static str, String) {
    let eds = "eds_cluster_config: { eds_config: { resource_api_version: V3, ads: {} } }";
    let eds = if kind == "EDS" { eds } else { "{}" };
    let text = match kind {
        "EDS" => format!("{{ name: {name}, type: EDS, connect_timeout: 1s, {eds} }}"),
        other => format!("{{ name: {name}, type: {other}, connect_timeout: 1s }}"),
    };
    (type_url::CLUSTER, text)
}

fn endpoint(cluster: &str, address: SocketAddr) -> (&'static str, String) {
    let (ip, port) = (address.ip(), address.port());
    let text = format!(
        "{{ cluster_name: {cluster}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: \
         {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }} }} ] }} ] }}"
    );
    (type_url::ENDPOINT, text)
}

#[test]
fn everything_by_wildcard_comes_changes_and_goes() {
    let Some(mut control_plane) = start() else {
        return;
    };
    let free = "127.0.0.1:0".parse().expect("an address");
    let front = || listener("front", free, true, "up");
    let (one, two) = (upstream("one"), upstream("two"));
    control_plane.serve(&[front(), cluster("up", "EDS"), endpoint("up", one)]);
    let dynamic = "  lds_config: { resource_api_version: V3, ads: {} }
  cds_config: { resource_api_version: V3, ads: {} }";
    let proxy = Proxy::start(control_plane.address, dynamic, "");
    let address = proxy.address("front");
    until_said(address, "one");

    control_plane.serve(&[front(), cluster("up", "EDS"), endpoint("up", two)]);
    until_said(address, "two");

    control_plane.serve(&[cluster("up", "EDS"), endpoint("up", one)]);
    let gone = || (!proxy.handle.snapshot().listeners.contains_key("front")).then_some(());
    eventually(PATIENCE, gone).expect("the listener goes");

    // What was learned last stays when the control plane is gone.
    drop(control_plane);
    assert!(proxy.handle.snapshot().clusters.contains_key("up"));
}

#[test]
fn a_destination_is_asked_for_by_name_when_it_is_needed() {
    let Some(mut control_plane) = start() else {
        return;
    };
    control_plane.serve(&[]);
    // What is not redirected wants to go where it came to.
    let outbound = r#"{ name: virtualOutbound, use_original_dst: true,
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } },
      metadata: { filter_metadata: { weir.dev: { on_demand: { absent_ttl_s: 1 } } } },
      default_filter_chain: { filters: [ { name: tcp, typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
        stat_prefix: nobody, cluster: nobody } } ] } }"#;
    let proxy = Proxy::start(control_plane.address, "", outbound);
    let address = proxy.address("virtualOutbound");
    assert_eq!(said(address), "", "nobody knows it, and it is refused");

    let name = weir_api::names::outbound_listener(address);
    let one = upstream("one");
    let destination = listener(&name, address, false, "up");
    control_plane.serve(&[destination, cluster("up", "EDS"), endpoint("up", one)]);
    until_said(address, "one");
    control_plane.serve(&[]);
    until_said(address, "");
}
