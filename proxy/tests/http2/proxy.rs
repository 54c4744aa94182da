//! A data plane on loopback, from a bootstrap.

use std::net::SocketAddr;

use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
    stats::Reading,
};

/// A data plane that stops when it is dropped.
pub(crate) struct Proxy {
    _server: Server,
    pub(crate) handle: Handle,
}

/// What is spoken with an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    Http1,
    Http2,
}

/// A bootstrap in the making.
pub(crate) struct Config {
    pub(crate) routes: String,
    /// Of the HTTP connection manager, in flow style, each behind a comma.
    pub(crate) manager: &'static str,
    /// What the listener takes its clients to speak.
    pub(crate) codec: &'static str,
    clusters: Vec<String>,
}

// === impl Config ===

impl Config {
    /// All requests go to one cluster, `up`, of one endpoint.
    pub(crate) fn to(upstream: Upstream, address: SocketAddr) -> Self {
        let routes = "{ match: { prefix: / }, route: { cluster: up } }";
        Self::routes(routes).cluster("up", upstream, address, "")
    }

    pub(crate) fn routes(routes: &str) -> Self {
        Self {
            routes: routes.to_owned(),
            manager: "",
            codec: "AUTO",
            clusters: Vec::new(),
        }
    }

    /// Adds a cluster. `more` is further fields of the cluster, in flow style, each behind a comma.
    pub(crate) fn cluster(
        self,
        name: &str,
        upstream: Upstream,
        address: SocketAddr,
        more: &str,
    ) -> Self {
        let options = match upstream {
            Upstream::Http1 => "http_protocol_options: {}",
            Upstream::Http2 => "http2_protocol_options: {}",
        };
        self.cluster_with(name, options, address, more)
    }

    /// Adds an HTTP/2 cluster with small windows.
    pub(crate) fn windowed_cluster(self, name: &str, address: SocketAddr, window: u32) -> Self {
        let options = format!(
            "http2_protocol_options: {{ initial_stream_window_size: {window}, \
             initial_connection_window_size: {window} }}"
        );
        self.cluster_with(name, &options, address, "")
    }

    /// Adds a cluster with these options of the protocol, and `more` as of [`Self::cluster`].
    pub(crate) fn cluster_with(
        mut self,
        name: &str,
        options: &str,
        address: SocketAddr,
        more: &str,
    ) -> Self {
        let (ip, port) = (address.ip(), address.port());
        self.clusters.push(format!(
            r#"{{ name: {name}, type: STATIC, connect_timeout: 2s{more},
    typed_extension_protocol_options: {{
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
        explicit_http_config: {{ {options} }} }} }},
    load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [
      {{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }} }}
    ] }} ] }} }}"#
        ));
        self
    }

    /// The bootstrap, with a listener on `port`.
    pub(crate) fn yaml(&self, port: u16) -> String {
        let (routes, manager, codec) = (&self.routes, self.manager, self.codec);
        let clusters = self.clusters.join(",\n");
        format!(
            r#"static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config: {{
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
          stat_prefix: in, codec_type: {codec}{manager},
          route_config: {{ virtual_hosts: [ {{ name: any, domains: ["*"], routes: [
            {routes} ] }} ] }},
          http_filters: [ {{ name: envoy.filters.http.router, typed_config: {{
            "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ] }}
  clusters: [ {clusters} ]
"#
        )
    }

    pub(crate) fn start(&self) -> Proxy {
        let text = self.yaml(0);
        let message = json::read_bootstrap(&text).expect(&text);
        let bootstrap = convert::bootstrap(message.clone()).expect(&text);
        Proxy::of(Server::start(&bootstrap, Options::new(message)).expect("a free port"))
    }
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn of(server: Server) -> Self {
        Self {
            handle: server.handle(),
            _server: server,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let snapshot = self.handle.snapshot();
        let socket = &snapshot.listeners["in"].sockets[0];
        socket.local_addr().expect("a bound socket")
    }

    /// The sum of a counter or a gauge over all scopes of a kind (`http`, `cluster`).
    pub(crate) fn stat(&self, kind: &str, name: &str) -> i64 {
        let scopes = self.handle.registry().read();
        let values = scopes
            .iter()
            .filter(|scope| scope.scope.kind == kind)
            .flat_map(|scope| &scope.values);
        let number = |reading: &Reading| match reading {
            Reading::Counter(n) => i64::try_from(*n).expect("small"),
            Reading::Gauge(n) => *n,
            Reading::Histogram(_) => 0,
        };
        values
            .filter(|value| value.name == name)
            .map(|value| number(&value.reading))
            .sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.handle.stop();
    }
}
