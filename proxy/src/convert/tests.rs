//! What becomes of messages: every example is taken, defaults are Envoy's, and all that is wrong
//! with a resource is said at once.

use std::{fs, path::Path, sync::LazyLock, time::Duration};

use proptest::prelude::*;
use weir_api::xds::{codec, json, type_url};

use super::*;
use crate::config::{
    cluster::{ClusterDiscovery, LbPolicy, UpstreamProtocol},
    dns::DnsResolver,
    endpoint::HealthStatus,
    header::AppendAction,
    http::{HttpConnectionManager, RouteSource},
    listener::{ListenerFilter, NetworkFilter, OnDemand},
    route::{ForwardTarget, PathRewrite, RouteAction},
};

fn example(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bootstraps");
    fs::read_to_string(directory.join(name)).expect(name)
}

fn converted(yaml: &str) -> Result<Bootstrap, ConfigError> {
    bootstrap(json::read_bootstrap(yaml).expect("well-formed"))
}

fn sound(name: &str) -> Bootstrap {
    converted(&example(name)).unwrap_or_else(|error| panic!("{name}:\n{error}"))
}

fn http(listener: &Listener) -> &HttpConnectionManager {
    match &listener.filter_chains[0].filters[0] {
        NetworkFilter::HttpConnectionManager(manager) => manager,
        other => panic!("{other:?}"),
    }
}

fn routes(listener: &Listener) -> &RouteConfiguration {
    match &http(listener).routes {
        RouteSource::Inline(routes) => routes,
        other @ RouteSource::Rds(_) => panic!("{other:?}"),
    }
}

fn message<T>(
    type_url: &str,
    yaml: &str,
    unpack: impl Fn(&weir_api::xds::google::protobuf::Any) -> Result<T, weir_api::xds::DecodeError>,
) -> T {
    let any = json::message_from_yaml(type_url, yaml).expect(yaml);
    unpack(&any).expect(yaml)
}

fn listener_of(yaml: &str) -> Result<Listener, ConfigError> {
    listener(message(type_url::LISTENER, yaml, codec::unpack_listener))
}

fn cluster_of(yaml: &str) -> Result<Cluster, ConfigError> {
    cluster(message(type_url::CLUSTER, yaml, codec::unpack_cluster))
}

const TCP_CHAIN: &str = "{ filters: [{ name: tcp, typed_config: { \
     \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
     stat_prefix: a, cluster: a } }] }";

fn tcp_listener(more: &str) -> String {
    format!(
        "name: a\naddress: {{ socket_address: {{ address: \"::1\", port_value: 80 }} }}\n\
         filter_chains: [{TCP_CHAIN}]\n{more}"
    )
}

#[test]
fn what_is_unset_has_envoys_default() {
    let bootstrap = sound("direct-response.yaml");
    let listener = &bootstrap.listeners[0];
    assert_eq!(listener.stat_prefix, "127.0.0.1_10000");
    assert_eq!(
        listener.listener_filters_timeout,
        Some(Duration::from_secs(15))
    );
    assert!(listener.bind_to_port && !listener.use_original_dst);
    let manager = http(listener);
    assert_eq!(manager.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(manager.stream_idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(manager.request_timeout, None);
    assert_eq!(manager.drain_timeout, Duration::from_secs(5));
    assert_eq!(
        (manager.max_headers_count, manager.max_request_headers_bytes),
        (100, 60 << 10)
    );
    assert_eq!(manager.server_name, "envoy");
    assert!(manager.generate_request_id && !manager.path.normalize);

    let cluster = cluster_of("name: a").expect("cluster");
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(
        (cluster.lb_policy, cluster.protocol),
        (LbPolicy::RoundRobin, UpstreamProtocol::Http1)
    );
    assert_eq!(cluster.circuit_breakers.default.max_retries, 3);
    assert_eq!(cluster.idle_timeout, Some(Duration::from_secs(3600)));
    assert!(
        matches!(&cluster.discovery, ClusterDiscovery::Static(none) if none.localities.is_empty())
    );
}

#[test]
fn routes_keep_what_their_messages_say() {
    let bootstrap = sound("virtual-hosts.yaml");
    let routes = routes(&bootstrap.listeners[0]);
    assert_eq!(
        routes.headers.response.add[0].append,
        AppendAction::OverwriteIfExistsOrAdd
    );
    assert_eq!(routes.domains.find("www.shop.example"), Some(0));
    assert_eq!(routes.domains.find("other"), Some(1));
    let shop = &routes.virtual_hosts[0].routes;
    let forward = |index: usize| match &shop[index].action {
        RouteAction::Forward(forward) => forward,
        other => panic!("{other:?}"),
    };
    assert_eq!(forward(0).timeout, Some(Duration::from_secs(15)));
    let retry = forward(2).retry_policy.as_ref().expect("retry policy");
    assert!(retry.on.connect_failure && retry.on.refused_stream && retry.on.reset);
    assert!(!retry.on.server_error);
    assert_eq!(
        (retry.num_retries, retry.base_interval),
        (2, Duration::from_millis(25))
    );
    match &forward(3).path_rewrite {
        Some(PathRewrite::Regex {
            pattern,
            substitution,
        }) => {
            assert_eq!(
                pattern.replace_all("/item/12", substitution),
                "/items?id=12"
            );
        }
        other => panic!("{other:?}"),
    }
    match &forward(4).target {
        ForwardTarget::Weighted { clusters, total } => {
            assert_eq!((clusters.len(), *total), (2, 100));
            assert_eq!(clusters[1].headers.response.add[0].name, "x-canary");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn zero_turns_a_timeout_off() {
    let bootstrap = sound("transparent.yaml");
    let listener = &bootstrap.listeners[1];
    assert_eq!(http(listener).stream_idle_timeout, None);
    let RouteAction::Forward(forward) = &routes(listener).virtual_hosts[0].routes[0].action else {
        panic!("{listener:?}");
    };
    assert_eq!(forward.timeout, None);
    let listener = listener_of(&tcp_listener("listener_filters_timeout: 0s")).expect("listener");
    assert_eq!(listener.listener_filters_timeout, None);
}

#[test]
fn listener_filters_that_are_needed_are_added_as_envoy_adds_them() {
    let filters = |more: &str| {
        listener_of(&tcp_listener(more))
            .expect(more)
            .listener_filters
    };
    let kinds = |filters: Vec<ListenerFilter>| {
        let kinds = filters.iter().map(|filter| format!("{:?}", filter.kind));
        kinds.collect::<Vec<_>>()
    };
    assert!(filters("").is_empty());
    let added = kinds(filters("use_original_dst: true"));
    assert_eq!(added, ["OriginalDst"]);
    for (criteria, inspects) in [
        ("server_names: [a]", true),
        ("transport_protocol: tls", true),
        ("application_protocols: [h2]", true),
        (
            "application_protocols: [h2c], transport_protocol: raw_buffer",
            false,
        ),
        ("destination_port: 80", false),
    ] {
        let chain =
            TCP_CHAIN.replacen('{', &format!("{{ filter_chain_match: {{ {criteria} }},"), 1);
        let text = tcp_listener("").replace(TCP_CHAIN, &chain);
        let added = kinds(listener_of(&text).expect(criteria).listener_filters);
        let expected = ["TlsInspector"];
        let expected = if inspects { &expected[..] } else { &[] };
        assert_eq!(added, expected, "{criteria}");
    }
}

#[test]
fn discovery_by_need_is_read_from_the_metadata() {
    let with = |settings: &str| {
        let metadata =
            format!("metadata: {{ filter_metadata: {{ weir.dev: {settings}, b: {{}} }} }}");
        listener_of(&tcp_listener(&metadata)).map(|listener| listener.on_demand)
    };
    let on_demand = OnDemand {
        timeout: Duration::from_millis(50),
        idle: Duration::from_secs(600),
        absent_ttl: Duration::from_secs(30),
    };
    assert_eq!(
        with("{ on_demand: { timeout_ms: 50 } }"),
        Ok(Some(on_demand))
    );
    assert_eq!(with("{}"), Ok(None));
    for (wrong, says) in [
        (
            "{ ondemand: {} }",
            "metadata.filter_metadata[\"weir.dev\"][\"ondemand\"]: not supported",
        ),
        ("{ on_demand: 5 }", ".on_demand: must be a mapping"),
        ("{ replaceable: 1 }", ".replaceable: must be true or false"),
        (
            "{ on_demand: { timeout_ms: -1 } }",
            ".on_demand.timeout_ms: must be a number",
        ),
        (
            "{ on_demand: { timeout: 1 } }",
            ".on_demand[\"timeout\"]: not supported",
        ),
    ] {
        let error = with(wrong).expect_err(wrong).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn clusters_keep_what_their_messages_say() {
    let bootstrap = sound("grpc.yaml");
    let cluster = &bootstrap.clusters[0];
    assert_eq!(cluster.protocol, UpstreamProtocol::Http2);
    assert_eq!(cluster.http2.initial_stream_window_size, 1 << 20);
    assert_eq!(cluster.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(cluster.max_requests_per_connection, Some(10_000));
    let ClusterDiscovery::Static(assignment) = &cluster.discovery else {
        panic!("{cluster:?}");
    };
    assert_eq!(assignment.localities[1].priority, 1);
    assert_eq!(
        assignment.localities[1].endpoints[0].health,
        HealthStatus::Draining
    );
    assert_eq!(
        assignment.localities[0].endpoints[0].hostname,
        "grpc.example"
    );

    let bootstrap = sound("ads.yaml");
    assert!(bootstrap.lds && bootstrap.cds);
    assert_eq!(bootstrap.ads.as_ref().expect("ads").cluster, "xds");
    let ClusterDiscovery::Eds(name) = &bootstrap.clusters[1].discovery else {
        panic!("{bootstrap:?}");
    };
    assert_eq!(name, "outbound|8000||backend.default.svc.cluster.local");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let error = listener_of(
        r#"
name: main
address: { socket_address: { address: here, port_value: 70000 } }
enable_mptcp: true
filter_chains:
- filter_chain_match: { server_names: ["a*"] }
  filters:
  - name: tcp
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      max_connect_attempts: 0
      access_log: [{ name: a }]
"#,
    )
    .expect_err("wrong");
    let tcp = "Listener \"main\": filter_chains[0].filters[0].typed_config";
    let expected = [
        "Listener \"main\": enable_mptcp: not supported: true".to_owned(),
        "Listener \"main\": address.socket_address.address: \"here\": not an IP address".to_owned(),
        "Listener \"main\": address.socket_address.port_value: 70000: must be at most 65535".to_owned(),
        "Listener \"main\": filter_chains[0].filter_chain_match.server_names[0]: \"a*\": a wildcard \
         is a whole label, and the first"
            .to_owned(),
        format!("{tcp}.stat_prefix: must not be empty"),
        format!("{tcp}.cluster: required, or weighted_clusters"),
        format!("{tcp}.max_connect_attempts: 0: must be from 1 to 4294967295"),
        format!("{tcp}.access_log[0].typed_config: required"),
    ];
    assert_eq!(error.to_string().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_chains_fingerprint_changes_with_its_message_and_not_with_its_metadata() {
    let fingerprint = |chain: &str| {
        let listener = listener_of(&tcp_listener("").replace(TCP_CHAIN, chain)).expect(chain);
        listener.filter_chains[0].fingerprint
    };
    let changed = TCP_CHAIN.replace("cluster: a", "cluster: b");
    let described = TCP_CHAIN.replacen(
        '{',
        "{ metadata: { filter_metadata: { a: { b: c }, d: { e: f } } },",
        1,
    );
    assert_ne!(fingerprint(TCP_CHAIN), fingerprint(&changed));
    assert_eq!(fingerprint(TCP_CHAIN), fingerprint(&described));
}

#[test]
fn clusters_of_a_route_configuration_that_comes_later_may_come_later_still() {
    let text = "name: a\nvalidate_clusters: true\nvirtual_hosts:\n- name: a\n  domains: ['*']\n  \
                routes: [{ match: { prefix: / }, route: { cluster: later } }]";
    let routes = message(type_url::ROUTE, text, codec::unpack_route_configuration);
    assert_eq!(
        route_configuration(routes)
            .expect("routes")
            .virtual_hosts
            .len(),
        1
    );
}

/// Encoded once: reading text is slow beside converting.
static EXAMPLES: LazyLock<Vec<weir_api::xds::google::protobuf::Any>> = LazyLock::new(|| {
    let names = ["virtual-hosts.yaml", "transparent.yaml", "grpc.yaml"];
    let encoded = names.map(|name| json::read_bootstrap(&example(name)).expect("well-formed"));
    encoded.iter().map(codec::pack_bootstrap).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_message_makes_the_converter_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        example in 0..EXAMPLES.len(),
    ) {
        let mut bytes = EXAMPLES[example].clone();
        for (index, byte) in changes {
            let index = index.index(bytes.value.len());
            bytes.value[index] = byte;
        }
        if let Ok(message) = codec::unpack_bootstrap(&bytes) {
            let _ = bootstrap(message);
        }
    }
}

#[test]
fn resolvers_keep_what_their_messages_say() {
    let resolver = |fields: &str| {
        let message = json::read_bootstrap(fields).expect("a bootstrap");
        let bootstrap = bootstrap(message).expect("sound");
        (*bootstrap.dns_resolver).clone()
    };
    let default = DnsResolver::default();
    assert_eq!(resolver("{}"), default);
    let tcp = resolver("use_tcp_for_dns_lookups: true");
    assert_eq!(
        tcp,
        DnsResolver {
            tcp: true,
            ..default.clone()
        }
    );
    let typed = |kind: &str, fields: &str| {
        resolver(&format!(
            "typed_dns_resolver_config: {{ name: r, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.network.dns_resolver.{kind}, {fields} }} }}"
        ))
    };
    let getaddrinfo = typed(
        "getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
        "num_retries: 2",
    );
    let of_getaddrinfo = DnsResolver {
        tries: 3,
        fixed_ttl: Some(Duration::from_secs(60)),
        ..default
    };
    assert_eq!(getaddrinfo, of_getaddrinfo);
    let cares = typed(
        "cares.v3.CaresDnsResolverConfig",
        "resolvers: [{ socket_address: { address: '::1', port_value: 0 } }], \
         use_resolvers_as_fallback: true, query_timeout_seconds: 7, query_tries: 2, \
         rotate_nameservers: true, edns0_max_payload_size: 4000, udp_max_queries: 3, \
         dns_resolver_options: { use_tcp_for_dns_lookups: true, no_default_search_domain: true }",
    );
    let of_cares = DnsResolver {
        servers: vec!["[::1]:53".parse().expect("an address")],
        is_fallback: true,
        tcp: true,
        no_search: true,
        timeout: Duration::from_secs(7),
        tries: 2,
        rotates: true,
        max_payload: 4000,
        fixed_ttl: None,
    };
    assert_eq!(cares, of_cares);
}
