//! `docs/supported-configuration.md` says of each field what the converter does with it. It is
//! made from the `take!` lists of the converter and from the cases that show the effect of a field
//! (`agent/tests/effects/main.rs`): one that no case names is not supported, and fails here.
//! `REFRESH_GOLDEN=1` rewrites the document.

#[path = "supported_configuration/shown.rs"]
mod shown;

use std::{env, fmt::Write, fs, path::Path};

use shown::{Effect, Shown};

/// The files of the converter in the order of the document.
const FILES: [&str; 60] = [
    "bootstrap",
    "runtime",
    "overload",
    "listener",
    "listener_filter",
    "proxy_protocol",
    "filter_chain",
    "tls",
    "tls_parameters",
    "tls_secret",
    "network_filter",
    "local_rate_limit",
    "tcp_proxy",
    "hash",
    "http_connection_manager",
    "http_options",
    "http_filter",
    "http_filter/buffer",
    "http_filter/cors",
    "http_filter/dynamic_forward_proxy",
    "http_filter/ext_authz",
    "http_filter/ext_authz/service",
    "service",
    "http_filter/fault",
    "http_filter/header_mutation",
    "http_filter/jwt_authn",
    "http_filter/jwt_authn/provider",
    "http_filter/rbac",
    "http_filter/stateful_session",
    "rbac",
    "metadata",
    "percent",
    "route",
    "route_match",
    "route_action",
    "mirror",
    "redirect",
    "retry",
    "retry_host",
    "header",
    "matcher",
    "cluster",
    "circuit_breakers",
    "load_balancing",
    "common_lb",
    "override_host",
    "subset",
    "dns",
    "dns_resolver",
    "dns_cache",
    "aggregate",
    "original_dst",
    "outlier_detection",
    "health_check",
    "health_check/checker",
    "upstream_http",
    "upstream_proxy_protocol",
    "endpoint",
    "access_log",
    "access_log/filter",
];

const PREFACE: &str = "\
# Supported configuration

The proxy takes Envoy's v3 messages, from a bootstrap file and over ADS. A field that is set and not
listed here is an error that names the resource, the field and the value. So is a value that a listed
field may not have:

| field | values |
|-|-|
| listener filters | `OriginalDst`, `TlsInspector`, `HttpInspector`, `ProxyProtocol`, `LocalRateLimit`, `OriginalSrc`, which goes with `TcpProxy` |
| network filters | `ConnectionLimit`, `LocalRateLimit`, `RBAC`, `SniCluster`, `sni_dynamic_forward_proxy.v3.FilterConfig`; and one that is terminal, last in the chain: `TcpProxy`, `HttpConnectionManager`, `Echo` or `direct_response.v3.Config` |
| HTTP filters | `Buffer`, `Cors`, `dynamic_forward_proxy.v3.FilterConfig`, `ExtAuthz`, `HTTPFault`, `HeaderMutation`, `JwtAuthentication`, `RBAC`, `StatefulSession` with `CookieBasedSessionState` or `HeaderBasedSessionState`; `Router`, last in the list |
| HTTP filters of the router and of clusters | `HeaderMutation`; `UpstreamCodec`, last in the list |
| `typed_per_filter_config` | `BufferPerRoute`, `CorsPolicy`, `dynamic_forward_proxy.v3.PerRouteConfig`, `ExtAuthzPerRoute`, `HTTPFault`, `HeaderMutationPerRoute`, `RBACPerRoute`, `StatefulSessionPerRoute`; each in a `FilterConfig`, too |
| runtime layers | `static_layer`, `admin_layer` |
| resource monitors | `FixedHeapConfig`, `CgroupMemoryConfig`, `DownstreamConnectionsConfig` |
| overload actions | `stop_accepting_requests`, `disable_http_keepalive`, `stop_accepting_connections`, `reject_incoming_connections`, `shrink_heap` |
| access logs | `FileAccessLog`, `StdoutAccessLog`, `StderrAccessLog` |
| transport sockets | `RawBuffer`, `DownstreamTlsContext` of filter chains, `UpstreamTlsContext` of clusters; `ProxyProtocolUpstreamTransport` around either of a cluster |
| `cipher_suites`, `ecdh_curves` | what BoringSSL has and rustls lacks is left out with a warning, as long as one of the list remains |
| `Cluster.type` | `STATIC`, `EDS`, `STRICT_DNS`, `LOGICAL_DNS`, `ORIGINAL_DST` |
| `Cluster.cluster_type` | `DnsCluster`, `envoy.extensions.clusters.aggregate.v3.ClusterConfig`, `envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig` |
| resolvers of names | `CaresDnsResolverConfig`, `GetAddrInfoDnsResolverConfig`: both ask the servers of /etc/resolv.conf, after /etc/hosts; nsswitch.conf is not read |
| `Cluster.lb_policy` | `ROUND_ROBIN`, `LEAST_REQUEST`, `RANDOM`, `RING_HASH`, `MAGLEV`, `LOAD_BALANCING_POLICY_CONFIG`; `CLUSTER_PROVIDED` with `ORIGINAL_DST`, aggregates and dynamic forward proxies |
| `load_balancing_policy` | `RoundRobin`, `LeastRequest`, `Random`, `RingHash`, `Maglev`, `ClusterProvided`; `Subset` or `OverrideHost` around one of them |
| `retry_host_predicate`, `retry_priority` | `PreviousHostsPredicate`, `OmitCanaryHostsPredicate`, `OmitHostMetadataConfig`; `PreviousPrioritiesConfig` |
| hash policies | not `filter_state` |
| `override_host_status` | `UNKNOWN` together with `HEALTHY`, `UNHEALTHY` with `TIMEOUT` |
| sources of configuration | `ads`; of secrets also `path_config_source` |
| `codec_type` | `AUTO`, `HTTP1`, `HTTP2` |
| `header_key_format` | `PreserveCaseFormatterConfig`: between two connections of HTTP/1.1 names keep their case, with it and without; HTTP/1.0 and HTTP/2 get lower case |
| `upgrade_configs` | any protocol of `Upgrade`, and `CONNECT`, which goes to the endpoint of a route with `connect_matcher`; both over HTTP/1 to an endpoint of HTTP/1 |
| RBAC rules | not `custom`, `matcher` and `uri_template` |
| headers to add and remove | not pseudo headers, `host`, `connection`, `content-length` and `transfer-encoding` |
| addresses | IP addresses with a TCP port; names only as endpoints of `STRICT_DNS` and `LOGICAL_DNS`, and in `preresolve_hostnames` |
| text and bodies | inline; files only for TLS, and environment variables are not read |
| `Listener.metadata` | `weir.dev: { on_demand: { timeout_ms, idle_s, absent_ttl_s }, replaceable: true }`; other namespaces are for people |
| `LbEndpoint.metadata` | `envoy.lb` (`hash_key`, `canary`, and what subsets and retries look at), `envoy.transport_socket_match` (also of `LocalityLbEndpoints`), `weir.dev: { last_resort }`; the rest is for people |

These have less of an effect than in Envoy:

| field | here |
|-|-|
| `slow_start_config` | an endpoint is new from when a worker first sees it healthy, and again when its checks succeed again |
| `hash_balance_factor`, least request | each worker goes by its own requests in flight |
| `metadata_match` | dynamic metadata of a request is not looked at |
| `dns_cache_config` | over ADS, those who say different things of one name share nothing but its stats; a bootstrap may not say them |
| dynamic forward proxies | behind a route with weighted clusters the HTTP filter does nothing: the cluster looks the name up |
| `auto_config` | an upgrade is refused, as with HTTP/2 |
| `ExtAuthz`, changes | what frames a message or is of one hop is not changed, nor is what is no header; values of a query that would break the request line are percent-encoded |
| `HTTPFault.max_active_faults` | each worker counts for itself |
| `HTTPFault.disable_downstream_cluster_stats` | at most 100 downstream clusters are counted apart |
| `Mutations.query_parameter_mutations` | parameters that were there stay percent-encoded as they were |
| `TlsParameters.ecdh_curves` | without any, X25519MLKEM768 comes before Envoy's |
| `session_timeout` | with keys that the process makes, a ticket may lose its worth after half of it |
| `keyUsage` of certificates | a peer's is not looked at: keys of TLS only sign here |
| `max_session_keys` | 0 is as in Envoy; else as many tickets are kept as an endpoint gives, for each of 64 names |
| `allow_expired_certificate` | a chain is judged as of a time at which its leaf was in date |
| files of TLS | each is looked at once a second at most, when a handshake needs it, whether a `watched_directory` is set or not |
| `fixed_heap` | what is measured is the process's private memory |
| `max_outbound_frames`, `max_outbound_control_frames` | are refused, for there is no such queue: nothing is read of a peer while 128 KiB wait to be sent to it |
| `CircuitBreakers.Thresholds` | hold for all workers together. Workers borrow of a threshold that is large, so that a cluster may refuse from 15/16 of it on; one of less than 32 a worker is exact. Of connections, each worker may have one to each host beyond, as with Envoy |

Below, *supported* fields have an effect, which a test beside Envoy shows (`agent/tests/effects`); of a
choice, the members that are. *Only* means that no other value is taken, *without effect* and *ignored* that
the field may be set and changes nothing, for the reason given, and *refused* that it must not be set. This
file is made from the source: `REFRESH_GOLDEN=1 cargo test -p weir-proxy --test supported_configuration`.
";

/// A message and what becomes of its fields.
#[derive(Default)]
struct Table {
    message: String,
    supported: Vec<String>,
    fixed: Vec<String>,
    ignored: Vec<String>,
    refused: Vec<String>,
}

#[test]
fn the_document_says_what_the_converter_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = Shown::read();
    let mut document = PREFACE.to_owned();
    for file in FILES.into_iter().chain(["value"]) {
        let path = root.join("src/convert").join(file).with_extension("rs");
        let source = fs::read_to_string(&path).expect(file);
        let title = source
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("//! "));
        let title = title
            .expect("a line of documentation")
            .trim_end_matches('.');
        let tables = tables(&source);
        assert!(!tables.is_empty(), "{file}");
        writeln!(document, "\n## {title}").expect("write");
        for table in tables {
            render(&table, &shown, &mut document);
        }
    }
    let path = root.join("../docs/supported-configuration.md");
    if env::var_os("REFRESH_GOLDEN").is_some() {
        fs::write(&path, &document).expect("write");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document,
        "run again with REFRESH_GOLDEN=1 and look at the difference"
    );
}

#[test]
fn each_supported_field_has_a_case_that_shows_its_effect() {
    let mut shown = Shown::read();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/convert");
    let mut missing = Vec::new();
    for file in FILES.into_iter().chain(["value"]) {
        let source = fs::read_to_string(directory.join(file).with_extension("rs")).expect(file);
        for table in tables(&source) {
            let fields = table.supported.iter().map(|field| field.trim_matches('`'));
            let unshown = fields.filter(|field| !shown.use_up(&table.message, field));
            missing.extend(unshown.map(|field| format!("{}.{field}", table.message)));
        }
    }
    assert!(
        missing.is_empty(),
        "no case shows the effect of {missing:#?}: add one to agent/tests/effects/cases, as \
         agent/tests/effects/main.rs says, or say there with no_effect why it has none",
    );
    let other: Vec<_> = shown.not_used().collect();
    assert!(
        other.is_empty(),
        "cases name fields that are not supported: {other:#?}"
    );
}

#[test]
fn no_file_of_the_converter_is_left_out() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/convert");
    check(&directory, &directory);
}

fn check(directory: &Path, root: &Path) {
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            check(&path, root);
            continue;
        }
        let name = path.strip_prefix(root).expect("within").with_extension("");
        let name = name.to_str().expect("name").to_owned();
        let takes = fs::read_to_string(&path)
            .expect("source")
            .contains(" take!(at");
        assert!(
            !takes || name == "value" || FILES.contains(&name.as_str()),
            "{name}"
        );
    }
}

fn render(table: &Table, shown: &Shown, document: &mut String) {
    writeln!(document, "\n### {}\n", table.message).expect("write");
    let (mut supported, mut without_effect) = (Vec::new(), Vec::new());
    for field in &table.supported {
        let name = field.trim_matches('`');
        let with_members = shown.with_members(&table.message, name);
        match shown.effect(&table.message, name) {
            Some(Effect::None(why)) => without_effect.push(format!("{field} ({why})")),
            _ => supported.push(with_members),
        }
    }
    let lists = [
        ("Supported", &supported),
        ("Without effect", &without_effect),
        ("Only", &table.fixed),
        ("Ignored", &table.ignored),
        ("Refused", &table.refused),
    ];
    for (title, fields) in lists {
        if !fields.is_empty() {
            writeln!(document, "- {title}: {}.", fields.join(", ")).expect("write");
        }
    }
}

/// The `take!` lists of a source file.
fn tables(source: &str) -> Vec<Table> {
    source
        .split("take!(at")
        .skip(1)
        .filter_map(|rest| rest.split_once("=> "))
        .map(|(_, rest)| {
            let (path, rest) = rest.split_once(" {").expect("a message");
            let (body, _) = rest.split_once("});").expect("the end of the list");
            table(path, body)
        })
        .collect()
}

fn table(path: &str, body: &str) -> Table {
    let mut table = Table {
        message: message_name(path),
        ..Table::default()
    };
    for section in body
        .split(";\n")
        .map(str::trim)
        .filter(|section| !section.is_empty())
    {
        let (kind, fields) = section
            .trim_end_matches(';')
            .split_once(':')
            .expect(section);
        for field in split_fields(fields) {
            let (name, value) = field.split_once('=').unwrap_or((&field, ""));
            let name = name.trim().trim_start_matches("r#").to_owned();
            let value = value.trim().trim_matches('"');
            match kind {
                "supported" => table.supported.push(format!("`{name}`")),
                "fixed" => table.fixed.push(format!("`{name}: {}`", constant(value))),
                "ignored" => table.ignored.push(format!("`{name}` ({value})")),
                "refused" => table.refused.push(format!("`{name}`")),
                other => panic!("{other}"),
            }
        }
    }
    table
}

/// Splits at commas that are not within a reason.
fn split_fields(fields: &str) -> Vec<String> {
    let mut split = vec![String::new()];
    let mut quoted = false;
    for character in fields.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                split.push(String::new());
                continue;
            }
            _ => {}
        }
        split.last_mut().expect("not empty").push(character);
    }
    split
        .into_iter()
        .map(|field| field.trim().to_owned())
        .filter(|field| !field.is_empty())
        .collect()
}

/// The value of a constant that a list names.
fn constant(name: &str) -> &str {
    match name {
        "OVERPROVISIONING" => "140",
        "MAX_DIRECT_RESPONSE_BODY" => "4096",
        value => value,
    }
}

/// `pb::tcp_proxy::WeightedCluster` is the message `TcpProxy.WeightedCluster`.
fn message_name(path: &str) -> String {
    let parts = path.split("::").filter(|part| {
        ![
            "pb", "core", "common", "rules", "options", "file", "stream", "route",
        ]
        .contains(part)
            && !part.ends_with("_v3")
            && *part != "v3"
            && !part.starts_with("pb_")
    });
    let parts = parts.map(|part| part.trim_start_matches("Pb"));
    let camel = |part: &str| {
        let words = part.split('_').map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
                .collect::<String>()
        });
        words.collect::<String>()
    };
    let name = parts.map(camel).collect::<Vec<_>>().join(".");
    // As Envoy writes them.
    name.replace("HttpFault", "HTTPFault")
        .replace("Rbac", "RBAC")
}
