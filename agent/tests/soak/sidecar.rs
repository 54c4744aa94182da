//! The proxy under load.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir_tests::{http, ports, running::Running};

use crate::endpoints::Endpoints;

/// How long connections and buffers may take to go once nobody asks for anything.
const REST: Duration = Duration::from_secs(20);

/// A running `weir-agent proxy`; killed when dropped.
pub(crate) struct Sidecar {
    pub(crate) http: u16,
    pub(crate) tcp: u16,
    admin: SocketAddr,
    running: Running,
    directory: TempDir,
}

// === impl Sidecar ===

impl Sidecar {
    pub(crate) fn start(endpoints: Endpoints) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [http, tcp] = [(); 2].map(|()| ports::free().port());
        let admin = ports::free();
        let file = directory.path().join("bootstrap.yaml");
        fs::write(&file, bootstrap(http, tcp, admin.port(), endpoints)).expect("written");
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-agent"));
        command.args(["proxy", "--concurrency", "2", "--config"]);
        command.arg(&file).stdout(Stdio::null()).stderr(log);
        let sidecar = Self {
            http,
            tcp,
            admin,
            running: Running::start(&mut command).expect("the proxy starts"),
            directory,
        };
        let open = ports::until_open(admin, Duration::from_secs(60));
        open.unwrap_or_else(|error| panic!("{error}: {}", sidecar.log()));
        sidecar
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn panics(&self) -> u64 {
        self.stat("server.panics")
    }

    /// Private memory once nothing is open any more and it no longer shrinks, KiB.
    pub(crate) fn memory_at_rest(&self) -> u64 {
        let deadline = Instant::now() + REST;
        let mut least = u64::MAX;
        while Instant::now() < deadline {
            let open = self.stat("server.total_connections") > 0;
            let now = self.private_memory();
            if !open && now >= least {
                return now;
            }
            least = least.min(now);
            // The proxy's own reaper of idle connections runs once a second.
            thread::sleep(Duration::from_secs(2));
        }
        least
    }

    fn private_memory(&self) -> u64 {
        self.running.memory("RssAnon").expect("the proxy runs")
    }

    fn stat(&self, name: &str) -> u64 {
        let page = http::get(self.admin, "/stats").expect("admin");
        let mut lines = page.body.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| *known == name);
        found.map_or(0, |(_, value)| value.trim().parse().expect("a number"))
    }
}

/// HTTP of either version by path to endpoints of either version, and TCP. Endpoints' idle
/// connections close at once, so that nothing is open at rest.
fn bootstrap(http: u16, tcp: u16, admin: u16, endpoints: Endpoints) -> String {
    let ext = "type.googleapis.com/envoy.extensions";
    let address =
        |port: u16| format!("{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}");
    let log = format!(
        r#"access_log: [ {{ name: log, typed_config: {{ "@type": {ext}.access_loggers.file.v3.FileAccessLog, path: /dev/null }} }} ]"#
    );
    let cluster = |name: &str, port: u16, more: &str| {
        format!(
            "{{ name: {name}, type: STATIC, connect_timeout: 1s, {more} load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {} }} }} ] }} ] }} }}",
            address(port)
        )
    };
    let options = |protocol: &str| {
        format!(
            r#"typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{
              "@type": {ext}.upstreams.http.v3.HttpProtocolOptions,
              common_http_protocol_options: {{ idle_timeout: 1s }},
              explicit_http_config: {{ {protocol}: {{}} }} }} }},"#
        )
    };
    format!(
        r#"admin: {{ address: {} }}
static_resources:
  listeners:
  - name: http
    address: {}
    {log}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {ext}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          {log}
          http_filters: [ {{ name: router, typed_config: {{ "@type": {ext}.filters.http.router.v3.Router }} }} ]
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - {{ match: {{ prefix: /2 }}, route: {{ cluster: http2, retry_policy: {{ retry_on: "reset,refused-stream" }} }} }}
              - {{ match: {{ prefix: / }}, route: {{ cluster: http1, retry_policy: {{ retry_on: "reset,5xx" }} }} }}
  - name: tcp
    address: {}
    {log}
    filter_chains:
    - filters: [ {{ name: tcp, typed_config: {{ "@type": {ext}.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: tcp, {log} }} }} ]
  clusters: [ {}, {}, {} ]
"#,
        address(admin),
        address(http),
        address(tcp),
        cluster("http1", endpoints.http1, &options("http_protocol_options")),
        cluster("http2", endpoints.http2, &options("http2_protocol_options")),
        cluster("tcp", endpoints.tcp, ""),
    )
}
