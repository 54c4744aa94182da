//! Both proxies, with a listener for each case.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tempfile::TempDir;
use weir_api::xds::json;
use weir_proxy::{
    convert,
    server::{Handle, Options, Server},
    stats::{Reading, Scope},
};
use weir_tests::{envoy::Envoy, eventually::eventually, http, ports};

use super::{cases::Case, servers::Servers};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// Response headers that differ from run to run, or that Envoy has not.
const VARYING: [&str; 4] = [
    "date",
    "server",
    "x-weir-reason",
    "x-envoy-upstream-service-time",
];

/// A proxy that runs all cases.
pub(super) struct Proxy {
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
    directory: TempDir,
    process: Process,
}

enum Process {
    Weir(#[expect(dead_code, reason = "held")] Box<Server>, Handle),
    Envoy(Envoy),
}

impl Process {
    /// All counters, as Envoy prints them.
    fn stats(&self, admin: SocketAddr) -> String {
        let Self::Weir(_, handle) = self else {
            return http::get(admin, "/stats").expect("stats").body;
        };
        let mut page = String::new();
        for read in handle.registry().read() {
            for value in read.values {
                if let Reading::Counter(count) = value.reading {
                    let Scope { kind, name, .. } = &read.scope;
                    page += &format!("{kind}.{name}.{}: {count}\n", value.name);
                }
            }
        }
        page
    }

    fn log(&self) -> String {
        match self {
            Self::Weir(..) => String::new(),
            Self::Envoy(envoy) => envoy.log(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Weir(_, handle) = self {
            handle.stop();
        }
    }
}

impl Proxy {
    pub(super) fn weir(servers: &Servers, cases: &[Case]) -> Self {
        Self::start(servers, cases, |text| {
            let message = json::read_bootstrap(text).expect(text);
            let bootstrap = convert::bootstrap(message.clone()).expect(text);
            let server = Server::start(&bootstrap, Options::new(message)).expect("free ports");
            let handle = server.handle();
            Process::Weir(Box::new(server), handle)
        })
    }

    pub(super) fn envoy(servers: &Servers, cases: &[Case]) -> Self {
        Self::start(servers, cases, |text| {
            Process::Envoy(Envoy::start(text).expect("Envoy"))
        })
    }

    fn start(servers: &Servers, cases: &[Case], start: impl Fn(&str) -> Process) -> Self {
        let directory = TempDir::with_prefix("weir-ext-authz-").expect("a directory");
        let listeners: Vec<_> = cases.iter().map(|_| ports::free()).collect();
        let admin = ports::free();
        let path = directory.path().display().to_string();
        let text = bootstrap(servers, cases, &listeners, admin, &path);
        let process = start(&text);
        let is_up = || TcpStream::connect(*listeners.last()?).ok();
        if let Err(error) = eventually(PATIENCE, is_up) {
            panic!("{error}: {}", process.log());
        }
        Self {
            listeners,
            admin,
            directory,
            process,
        }
    }

    /// All that is to be seen of a case.
    pub(super) fn see(&self, number: usize, case: &Case, servers: &Servers) -> Vec<String> {
        servers.asked();
        let mut seen = Vec::new();
        for request in case.send {
            seen.push(format!("== {}", request.lines().next().unwrap_or_default()));
            let answer = exchange(self.listeners[number], request);
            let mut asked = servers.asked();
            seen.extend(asked.drain(..).map(|line| format!("asked {line}")));
            seen.extend(answer);
        }
        let log = self.directory.path().join(format!("log{number}"));
        let lines = || {
            let text = fs::read_to_string(&log).ok()?;
            let lines: Vec<_> = text.lines().map(|line| format!("log {line}")).collect();
            (lines.len() >= case.send.len()).then_some(lines)
        };
        seen.extend(eventually(PATIENCE, lines).expect("a log"));
        seen.extend(self.stats(number));
        seen
    }

    /// Counters of the case that are not zero.
    fn stats(&self, number: usize) -> Vec<String> {
        let page = self.process.stats(self.admin);
        let mine = [
            format!("http.c{number}.ext_authz"),
            format!("cluster.to{number}.ext_authz"),
            format!("cluster.to{number}.upstream_rq_"),
        ];
        let is_mine = |line: &&str| {
            mine.iter().any(|name| line.starts_with(name))
                && !line.ends_with(": 0")
                && ["ext_authz", "_completed", "_200", "_4", "_5"]
                    .iter()
                    .any(|it| line.contains(it))
        };
        let mut lines: Vec<String> = page.lines().filter(is_mine).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// One request on a connection of its own, and what is answered, in lines.
fn exchange(to: SocketAddr, request: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(to).expect("listening");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut sent = head
        .trim()
        .replacen('\n', " HTTP/1.1\r\n", 1)
        .replace("\n", "\r\n")
        .replace("\r\r", "\r");
    if !head.trim().contains('\n') {
        sent += " HTTP/1.1";
    }
    sent += "\r\nhost: web.example\r\nconnection: close\r\n";
    if !body.is_empty() {
        sent += &format!("content-length: {}\r\n", body.len());
    }
    sent += "\r\n";
    stream.write_all(sent.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_lowercase).collect();
    lines.retain(|line| {
        !VARYING
            .iter()
            .any(|name| line.starts_with(&format!("{name}:")))
    });
    lines[1..].sort();
    lines.push(format!("body {body}"));
    lines
}

fn bootstrap(
    servers: &Servers,
    cases: &[Case],
    listeners: &[SocketAddr],
    admin: SocketAddr,
    directory: &str,
) -> String {
    let mut text = "static_resources:\n  listeners:\n".to_owned();
    let mut clusters = BTreeMap::new();
    for (number, (case, at)) in cases.iter().zip(listeners).enumerate() {
        clusters.insert(format!("to{number}"), (servers.endpoint, ""));
        text += &format!(
            r#"  - name: in{number}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: c{number}
          access_log: [ {{ name: file, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog,
            path: {directory}/log{number},
            log_format: {{ text_format_source: {{ inline_string: "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n" }} }} }} }} ]
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              typed_per_filter_config: {{ {host} }}
              routes:
              - {{ match: {{ prefix: /elsewhere }}, route: {{ cluster: to{number} }}, request_headers_to_add: [ {{ header: {{ key: x-route, value: elsewhere }} }} ] }}
              - {{ match: {{ prefix: / }}, route: {{ cluster: to{number} }}, metadata: {{ filter_metadata: {{ of.route: {{ a: 1 }} }} }}, typed_per_filter_config: {{ {route} }} }}
          http_filters:
          {before}
          - name: authz
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz, transport_api_version: V3, {filter} }}
          {after}
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#,
            port = at.port(),
            host = case.host,
            route = case.route,
            before = case.before,
            after = case.after,
            filter = case.filter,
        );
    }
    const HTTP2: &str = r#"typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } },"#;
    clusters.insert("grpc".to_owned(), (servers.grpc, HTTP2));
    clusters.insert("http".to_owned(), (servers.http, ""));
    clusters.insert("gone".to_owned(), (ports::free(), HTTP2));
    text += "  clusters:\n";
    for (name, (at, more)) in clusters {
        text += &format!(
            "  - {{ name: {name}, type: STATIC, connect_timeout: 5s, {more} load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ \
             endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ] }} }}\n",
            at.ip(),
            at.port()
        );
    }
    text += &format!(
        "admin: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}\n",
        admin.ip(),
        admin.port()
    );
    text
}
