//! The proxy under load.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::endpoints::Endpoints;

/// How long connections and buffers may take to go once nobody asks for anything.
const REST: Duration = Duration::from_secs(20);

/// A running `weir-agent proxy`; killed when dropped.
pub(crate) struct Sidecar {
    pub(crate) http: u16,
    pub(crate) tcp: u16,
    admin: u16,
    child: Child,
    directory: TempDir,
}

// === impl Sidecar ===

impl Sidecar {
    pub(crate) fn start(endpoints: Endpoints) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [http, tcp, admin] = [(); 3].map(|()| free_port());
        let file = directory.path().join("bootstrap.yaml");
        fs::write(&file, bootstrap(http, tcp, admin, endpoints)).expect("written");
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_weir-agent"))
            .args(["proxy", "--concurrency", "2", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let sidecar = Self {
            http,
            tcp,
            admin,
            child: child.expect("the proxy starts"),
            directory,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, admin)).is_err() {
            assert!(Instant::now() < deadline, "{}", sidecar.log());
            thread::yield_now();
        }
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the proxy runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.expect("RssAnon").parse().expect("a number")
    }

    fn stat(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin)).expect("admin");
        let request = b"GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| *known == name);
        found.map_or(0, |(_, value)| value.trim().parse().expect("a number"))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
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
