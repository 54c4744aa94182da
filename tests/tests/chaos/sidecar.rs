//! The real `weir-agent`, with a listener whose routes, clusters and endpoints come over ADS.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use weir_tests::{http, ports, running::Running};

const CART: &str = "outbound|80||cart.shop.svc.cluster.local";

/// Ended when dropped.
pub(crate) struct Sidecar {
    pub(crate) listener: SocketAddr,
    admin: SocketAddr,
    _running: Running,
    _folder: tempfile::TempDir,
}

fn bootstrap(listener: SocketAddr, admin: SocketAddr, control: SocketAddr) -> String {
    let address = |address: SocketAddr| {
        format!(
            "{{ socket_address: {{ address: {}, port_value: {} }} }}",
            address.ip(),
            address.port()
        )
    };
    let (listener, admin, control) = (address(listener), address(admin), address(control));
    format!(
        r#"
node: {{ id: sidecar~127.0.0.1~client-0.shop~shop.svc.cluster.local, cluster: client.shop }}
admin: {{ address: {admin} }}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{{ envoy_grpc: {{ cluster_name: xds }} }}]
  cds_config: {{ resource_api_version: V3, ads: {{}} }}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: xds
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {control} }} }}] }}]
  listeners:
  - name: web
    address: {listener}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          rds:
            route_config_name: "{CART}"
            config_source: {{ resource_api_version: V3, ads: {{}} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#
    )
}

// === impl Sidecar ===

impl Sidecar {
    pub(crate) fn start(program: &Path, control: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let (listener, admin) = (ports::free(), ports::free());
        let path = folder.path().join("bootstrap.yaml");
        fs::write(&path, bootstrap(listener, admin, control)).expect("bootstrap");
        let mut command = Command::new(program);
        command.args(["proxy", "--concurrency", "2", "--config"]);
        command
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Running::start(&mut command).expect("weir-agent starts");
        Self {
            listener,
            admin,
            _running: running,
            _folder: folder,
        }
    }

    /// Endpoints of the service, as the sidecar has them.
    pub(crate) fn endpoints(&self) -> BTreeSet<SocketAddr> {
        let page = http::get(self.admin, "/clusters").expect("admin");
        let lines = page
            .body
            .lines()
            .filter_map(|line| line.strip_prefix(CART)?.strip_prefix("::"));
        lines
            .filter_map(|line| line.split("::").next()?.parse().ok())
            .collect()
    }
}
