//! Manifests in, what sidecars are told out: `golden/NAME.in.yaml` gives `golden/NAME.out.txt`, a
//! line for each listener and each load assignment. `golden/resources.in.yaml` gives whole resources
//! as YAML. `REFRESH_GOLDEN=1` rewrites what is expected.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_api::{
    sidecar::PodPort,
    xds::{
        codec,
        envoy::{
            config::{
                core::v3::address::Address,
                endpoint::v3::{LbEndpoint, lb_endpoint::HostIdentifier},
                listener::v3::{Filter, FilterChain, filter},
                route::v3::route_match::PathSpecifier,
            },
            extensions::filters::network::http_connection_manager::v3::{
                http_connection_manager::RouteSpecifier, http_filter,
            },
        },
        google::protobuf::Any,
        json,
    },
};
use weir_discovery::{
    manifests::Directory,
    model::{Index, NamespacedName, Snapshot},
    rules,
    xds::{Client, Generator, Kind, MeshConfig, Resource, Settings},
};
use weir_tests::{envoy, golden::check};

#[test]
fn every_kind_of_service_gives_what_its_golden_file_says() {
    for case in cases() {
        let snapshot = snapshot(&case);
        check(
            &case.with_extension("").with_extension("out.txt"),
            &summary(&snapshot),
        );
    }
}

#[test]
fn whole_resources_are_as_their_golden_file_says() {
    let descriptors = json::Descriptors::load();
    for case in ["resources", "affinity", "service-entries"] {
        let snapshot = snapshot(&directory().join(format!("{case}.in.yaml")));
        let mut text = String::new();
        for (kind, resource) in resources(&snapshot) {
            let yaml = descriptors.to_yaml(&resource.body);
            writeln!(text, "--- # {} {}\n{yaml}", kind.word(), resource.name).expect("a string");
        }
        check(&directory().join(format!("{case}.out.yaml")), &text);
        if case == "service-entries" && envoy::available() {
            envoy_accepts(&descriptors, &of_outside(&snapshot));
        }
    }
}

#[test]
fn clients_that_speak_mutual_tls_are_told_with_whom_and_others_are_not() {
    let descriptors = json::Descriptors::load();
    let snapshot = snapshot(&directory().join("mutual-tls.in.yaml"));
    let generator = Generator::new(Settings {
        mutual_tls: true,
        ..Settings::default()
    });
    let ports = [("http", 8080), ("tcp-feed", 9000), ("any", 7000)];
    let client = |mutual_tls| {
        Arc::new(Client {
            pod: Some(NamespacedName::new("shop", "web-1")),
            addresses: vec!["10.5.0.1".parse().expect("an address")],
            ports: ports
                .map(|(name, number)| PodPort {
                    name: Some(name.to_owned()),
                    container_port: number,
                    protocol: None,
                })
                .to_vec(),
            mutual_tls,
            ..Client::default()
        })
    };
    let told = |generator: &Generator, mutual_tls| -> Vec<(Kind, Resource)> {
        let client = client(mutual_tls);
        let kinds = [Kind::Cluster, Kind::Endpoint, Kind::Listener];
        let names = kinds.into_iter().flat_map(|kind| {
            let names = generator.names(&snapshot, kind).into_iter();
            names.map(move |name| (kind, name))
        });
        let names = names.filter(|(kind, name)| match kind {
            Kind::Listener => name == "virtualInbound",
            // Of the clusters of single endpoints, one.
            Kind::Cluster => {
                let one = name.contains("|8080||10-5-0-1.");
                name.starts_with("outbound|") && (one || !name.contains("||10-5-"))
            }
            _ => true,
        });
        names
            .map(|(kind, name)| {
                let view = generator.view(&snapshot, kind, &name, &client);
                let resource = generator.resource_for(&snapshot, kind, &name, &view);
                (kind, resource.expect("named"))
            })
            .collect()
    };
    let mut text = String::new();
    for (kind, resource) in told(&generator, true) {
        let yaml = descriptors.to_yaml(&resource.body);
        writeln!(text, "--- # {} {}\n{yaml}", kind.word(), resource.name).expect("a string");
    }
    check(&directory().join("mutual-tls.out.yaml"), &text);
    if envoy::available() {
        let others = ["8080", "9000", "7000"].map(|port| format!("inbound|{port}||"));
        let others = others
            .into_iter()
            .chain(["BlackHoleCluster", "InboundPassthroughCluster"].map(str::to_owned));
        let others = others.map(|name| {
            let other = generator.resource(&snapshot, Kind::Cluster, &name);
            (Kind::Cluster, other.expect("known"))
        });
        let all: Vec<_> = told(&generator, true).into_iter().chain(others).collect();
        envoy_accepts(&descriptors, &all);
    }
    let plain = Generator::default();
    let versions = |told: Vec<(Kind, Resource)>| -> Vec<_> {
        let told = told.into_iter();
        told.map(|(kind, it)| (kind, it.name, it.version)).collect()
    };
    for (generator, mutual_tls) in [(&generator, false), (&plain, true), (&plain, false)] {
        assert_eq!(
            versions(told(generator, mutual_tls)),
            versions(told(&plain, false))
        );
    }
}

/// `golden/peer-authentication.chains.txt`: what the sidecar of each pod takes, a line for each filter
/// chain, and which endpoints clients speak mutual TLS with.
#[test]
fn rules_say_what_pods_take_and_how_they_are_called() {
    let snapshot = snapshot(&directory().join("peer-authentication.in.yaml"));
    let generator = Generator::new(Settings {
        mutual_tls: true,
        ..Settings::default()
    });
    let pods = [
        ("shop", "pay-1", "10.5.0.1", true),
        ("shop", "web-1", "10.5.0.2", true),
        ("old", "attic-1", "10.5.0.3", true),
        ("other", "db-1", "10.5.0.4", true),
        ("other", "not-known-yet", "10.5.0.5", true),
        // One that cannot do what is demanded of it.
        ("other", "db-1", "10.5.0.4", false),
    ];
    let (mut text, mut listeners) = (String::new(), Vec::new());
    for (namespace, pod, address, mutual_tls) in pods {
        let client = Arc::new(Client {
            pod: Some(NamespacedName::new(namespace, pod)),
            addresses: vec![address.parse().expect("an address")],
            mutual_tls,
            ..Client::default()
        });
        let view = generator.view(&snapshot, Kind::Listener, "virtualInbound", &client);
        let told = generator.resource_for(&snapshot, Kind::Listener, "virtualInbound", &view);
        let told = told.expect("known");
        let listener = codec::unpack_listener(&told.body).expect("a listener");
        let able = if mutual_tls {
            ""
        } else {
            ", without certificates"
        };
        writeln!(text, "{namespace}/{pod}{able}").expect("a string");
        for chain in &listener.filter_chains {
            writeln!(text, "  {}", describe_chain(chain)).expect("a string");
        }
        let default = listener.default_filter_chain.as_ref().map(describe_chain);
        let default = default.unwrap_or_else(|| "closed".to_owned());
        writeln!(text, "  else: {default}").expect("a string");
        listeners.push((Kind::Listener, told));
    }
    for name in generator.names(&snapshot, Kind::Endpoint) {
        let told = generator.resource(&snapshot, Kind::Endpoint, &name);
        let body = format!(
            "{:?}",
            codec::decode_cluster_load_assignment(&told.expect("known").body.value)
        );
        let marked = body.contains("envoy.transport_socket_match");
        let how = if marked { "mutual TLS" } else { "plaintext" };
        writeln!(text, "{name}: {how}").expect("a string");
    }
    check(&directory().join("peer-authentication.chains.txt"), &text);
    if envoy::available() {
        let descriptors = json::Descriptors::load();
        let mut clusters: Vec<_> = [8080, 9000, 7000, 7777, 15999, 5432, 8443]
            .map(|port| format!("inbound|{port}||"))
            .to_vec();
        clusters.extend(["BlackHoleCluster", "InboundPassthroughCluster"].map(str::to_owned));
        let clusters = clusters.into_iter().map(|name| {
            let cluster = generator.resource(&snapshot, Kind::Cluster, &name);
            (Kind::Cluster, cluster.expect("known"))
        });
        let clusters: Vec<_> = clusters.collect();
        for listener in listeners {
            let all: Vec<_> = clusters.iter().cloned().chain([listener]).collect();
            envoy_accepts(&descriptors, &all);
        }
    }
}

/// `golden/authorization.filters.yaml`: the filters of requests and of connections by which the
/// sidecar of each pod decides who may do what.
#[test]
fn policies_say_who_may_do_what() {
    let snapshot = snapshot(&directory().join("authorization.in.yaml"));
    let generator = Generator::new(Settings {
        mutual_tls: true,
        trust_domain: "shop.example".parse().expect("a trust domain"),
        ..Settings::default()
    });
    let mesh = fs::read_to_string(directory().join("authorization.mesh.yaml")).expect("settings");
    let mesh: MeshConfig = yaml_serde::from_str(&mesh).expect("settings of the mesh");
    mesh.validate().expect("sound settings");
    let generator = generator.with_mesh(mesh);
    let descriptors = json::Descriptors::load();
    let pods = [
        ("shop", "pay-1", "10.5.0.1"),
        ("other", "db-1", "10.5.0.4"),
        // Any policy may be about it.
        ("shop", "not-known-yet", "10.5.0.5"),
    ];
    let (mut text, mut listeners) = (String::new(), Vec::new());
    for (namespace, pod, address) in pods {
        let client = Arc::new(Client {
            pod: Some(NamespacedName::new(namespace, pod)),
            addresses: vec![address.parse().expect("an address")],
            mutual_tls: true,
            ..Client::default()
        });
        let view = generator.view(&snapshot, Kind::Listener, "virtualInbound", &client);
        let told = || generator.resource_for(&snapshot, Kind::Listener, "virtualInbound", &view);
        let listener = told().expect("known");
        assert_eq!(told(), Some(listener.clone()), "the same bytes each time");
        let message = codec::unpack_listener(&listener.body).expect("a listener");
        let all = message
            .filter_chains
            .iter()
            .chain(&message.default_filter_chain);
        let mut filters = BTreeMap::new();
        for chain in all.filter(|chain| chain.name != "virtualInbound-blackhole") {
            let (of, said) = filters_before_the_last(chain);
            let said: String = said.iter().map(|any| descriptors.to_yaml(any)).collect();
            let before = filters.insert(of, said.clone());
            assert!(before.is_none_or(|it| it == said), "{} differs", chain.name);
        }
        for (of, said) in filters {
            writeln!(text, "--- # {namespace}/{pod}: {of}\n{said}").expect("a string");
        }
        listeners.push((Kind::Listener, listener));
    }
    check(&directory().join("authorization.filters.yaml"), &text);
    if envoy::available() {
        let clusters = [
            "inbound|8080||",
            "inbound|9000||",
            "BlackHoleCluster",
            "InboundPassthroughCluster",
        ];
        let clusters = clusters.map(|name| {
            let cluster = generator.resource(&snapshot, Kind::Cluster, name);
            (Kind::Cluster, cluster.expect("known"))
        });
        for listener in listeners {
            let all: Vec<_> = clusters.iter().cloned().chain([listener]).collect();
            envoy_accepts(&descriptors, &all);
        }
    }
}

/// Of requests or of connections, whichever the chain serves.
fn filters_before_the_last(chain: &FilterChain) -> (&'static str, Vec<Any>) {
    let of_network: Vec<_> = chain.filters.iter().map(network_config).collect();
    let (last, before) = of_network.split_last().expect("a filter");
    let Ok(manager) = codec::unpack_http_connection_manager(last) else {
        return ("connections", before.to_vec());
    };
    let filters = manager.http_filters.iter();
    let mut filters: Vec<_> = filters
        .map(|filter| match &filter.config_type {
            Some(http_filter::ConfigType::TypedConfig(any)) => any.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(before.is_empty() && filters.pop().is_some());
    ("requests", filters)
}

fn network_config(filter: &Filter) -> Any {
    match &filter.config_type {
        Some(filter::ConfigType::TypedConfig(any)) => any.clone(),
        other => panic!("{other:?}"),
    }
}

fn describe_chain(chain: &FilterChain) -> String {
    let criteria = chain.filter_chain_match.clone().unwrap_or_default();
    let port = criteria.destination_port.map_or(0, |port| port.value);
    let transport = criteria.transport_protocol;
    let within = match &chain.transport_socket {
        Some(_) => " within mutual TLS",
        None => "",
    };
    let alpn = criteria.application_protocols.join(" ");
    let cluster = cluster_of(chain);
    let from = criteria.source_prefix_ranges.iter();
    let from = from.map(|range| format!(" {}", range.address_prefix));
    let asked = paths_of(chain).into_iter().map(|path| format!(" {path}"));
    let by_kubelet: String = from.chain(asked).collect();
    format!(
        "{}: port {port} [{transport}] [{alpn}]{by_kubelet} -> {cluster}{within}",
        chain.name
    )
}

/// The paths that a chain takes alone.
fn paths_of(chain: &FilterChain) -> Vec<String> {
    let config = chain.filters[0].config_type.as_ref();
    let Some(filter::ConfigType::TypedConfig(config)) = config else {
        return Vec::new();
    };
    let Ok(manager) = codec::unpack_http_connection_manager(config) else {
        return Vec::new();
    };
    let Some(RouteSpecifier::RouteConfig(routes)) = manager.route_specifier else {
        return Vec::new();
    };
    let routes = routes.virtual_hosts.into_iter().flat_map(|it| it.routes);
    let paths = routes.filter_map(|route| match route.r#match?.path_specifier? {
        PathSpecifier::Path(path) => Some(path),
        _ => None,
    });
    paths.collect()
}

/// Real Envoy starts with these listeners and clusters.
/// What there is beside the listeners that capture, which Envoy takes elsewhere.
fn of_outside(snapshot: &Snapshot) -> Vec<(Kind, Resource)> {
    let all = resources(snapshot).into_iter();
    all.filter(|(_, resource)| !resource.name.starts_with("virtual"))
        .collect()
}

fn envoy_accepts(descriptors: &json::Descriptors, resources: &[(Kind, Resource)]) {
    let of = |kind| {
        let all = resources.iter().filter(move |(it, _)| *it == kind);
        let all = all.map(|(_, resource)| {
            let yaml = descriptors.to_yaml(&resource.body);
            let mut value: serde_json::Value = yaml_serde::from_str(&yaml).expect("YAML");
            value.as_object_mut().expect("a message").remove("@type");
            value
        });
        all.collect::<Vec<_>>()
    };
    let bootstrap = serde_json::json!({
        "node": {"id": "web-1", "cluster": "web"},
        "static_resources": {"listeners": of(Kind::Listener), "clusters": of(Kind::Cluster)},
    });
    let directory = tempfile::tempdir().expect("temporary directory");
    let (path, nothing) = (
        directory.path().join("it.json"),
        directory.path().join("no.json"),
    );
    fs::write(&nothing, r#"{"resources": []}"#).expect("written");
    // What static resources refer to cannot come over a stream that is opened later.
    let file = serde_json::json!({"path_config_source": {"path": nothing}}).to_string();
    let file = format!("{},", &file[1..file.len() - 1]);
    let bootstrap = bootstrap.to_string().replace(r#""ads":{},"#, &file);
    fs::write(&path, bootstrap).expect("written");
    envoy::accepts(&path).unwrap_or_else(|said| panic!("envoy refuses it: {said}"));
}

#[test]
fn versions_are_the_same_in_every_replica() {
    // Maps are hashed with a seed of their own each, so two registries are as good as two replicas.
    for case in cases() {
        let versions = || -> Vec<_> {
            let resources = resources(&snapshot(&case)).into_iter();
            resources
                .map(|(kind, resource)| (kind, resource.name, resource.version))
                .collect()
        };
        assert_eq!(versions(), versions(), "{}", case.display());
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory()).expect("golden directory");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let mut cases: Vec<_> = paths
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    cases.sort();
    assert!(cases.len() > 5, "{cases:?}");
    cases
}

/// The model of a single manifest file.
fn snapshot(case: &Path) -> Snapshot {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::copy(case, directory.path().join("manifests.yaml")).expect("copy");
    let (_, events) = Directory::open(directory.path(), rules::Settings::default())
        .unwrap_or_else(|errors| panic!("{}: {errors:?}", case.display()));
    let mut index = Index::default();
    events.into_iter().for_each(|event| index.apply(event));
    index.commit();
    (*index.snapshot()).clone()
}

fn resources(snapshot: &Snapshot) -> Vec<(Kind, Resource)> {
    let generator = Generator::default();
    let named = Kind::ALL.into_iter().flat_map(|kind| {
        let names = generator.names(snapshot, kind).into_iter();
        names.map(move |name| (kind, name))
    });
    named
        .map(|(kind, name)| {
            let resource = generator.resource(snapshot, kind, &name);
            (
                kind,
                resource.unwrap_or_else(|| panic!("{name} is named and is not there")),
            )
        })
        .collect()
}

fn summary(snapshot: &Snapshot) -> String {
    let mut lines = BTreeMap::new();
    // The others are the same for every mesh.
    let resources = resources(snapshot).into_iter();
    for (kind, resource) in resources.filter(|(_, it)| it.name.starts_with("outbound|")) {
        let value = &resource.body.value;
        let line = match kind {
            Kind::Listener => listener(value),
            Kind::Endpoint => assignment(value),
            Kind::Cluster => match cluster(value) {
                Some(line) => line,
                None => continue,
            },
            Kind::Route | Kind::Secret => continue,
        };
        lines.insert((kind.word(), resource.name.clone()), line);
    }
    let line = |((kind, name), line): (&(&str, _), &String)| format!("{kind} {name}: {line}\n");
    lines.iter().map(line).collect()
}

/// The filter chains, what they wait for, and the cluster behind them.
fn listener(bytes: &[u8]) -> String {
    let listener = codec::decode_listener(bytes).expect("listener");
    let chains = listener
        .filter_chains
        .iter()
        .chain(&listener.default_filter_chain);
    let names: Vec<_> = chains.clone().map(|chain| chain.name.as_str()).collect();
    let mut clusters: Vec<_> = chains.map(cluster_of).collect();
    clusters.dedup();
    let waits = match (
        listener.listener_filters.is_empty(),
        listener.continue_on_listener_filters_timeout,
    ) {
        (true, _) => "at once",
        (false, false) => "client first",
        (false, true) => "either side first",
    };
    format!("{} ({waits}) -> {}", names.join(", "), clusters.join(", "))
}

fn cluster_of(chain: &FilterChain) -> String {
    let Some(filter::ConfigType::TypedConfig(any)) = &chain.filters[0].config_type else {
        panic!("no typed_config in {}", chain.name);
    };
    if let Ok(proxy) = codec::unpack_tcp_proxy(any) {
        return proxy.stat_prefix;
    }
    let manager = codec::unpack_http_connection_manager(any).expect("connection manager");
    manager.stat_prefix
}

/// Only clusters that hold their endpoint themselves.
fn cluster(bytes: &[u8]) -> Option<String> {
    let cluster = codec::decode_cluster(bytes).expect("cluster");
    let assignment = cluster.load_assignment?;
    Some(assignment_line(&codec::encode_cluster_load_assignment(
        &assignment,
    )))
}

fn assignment(bytes: &[u8]) -> String {
    assignment_line(bytes)
}

fn assignment_line(bytes: &[u8]) -> String {
    let assignment = codec::decode_cluster_load_assignment(bytes).expect("assignment");
    let mut line = Vec::new();
    for locality in &assignment.endpoints {
        let zone = locality
            .locality
            .as_ref()
            .map(|locality| format!("{}/", locality.zone));
        let priority = if locality.priority == 0 {
            ""
        } else {
            "as a last resort "
        };
        for endpoint in &locality.lb_endpoints {
            line.push(format!(
                "{priority}{}{}",
                zone.clone().unwrap_or_default(),
                describe(endpoint)
            ));
        }
    }
    if line.is_empty() {
        "none".to_owned()
    } else {
        line.join(", ")
    }
}

fn describe(endpoint: &LbEndpoint) -> String {
    let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier else {
        panic!("an endpoint by name");
    };
    let address = host
        .address
        .as_ref()
        .and_then(|address| address.address.as_ref());
    let Some(Address::SocketAddress(socket)) = address else {
        panic!("no socket address");
    };
    let port = format!("{:?}", socket.port_specifier);
    let port: String = port.chars().filter(char::is_ascii_digit).collect();
    let metadata = endpoint
        .metadata
        .as_ref()
        .and_then(|it| it.filter_metadata.get("weir.dev"));
    let field = |name: &str| {
        let text = format!("{:?}", metadata?.fields.get(name)?.kind);
        text.split('"').nth(1).map(str::to_owned)
    };
    let who = match (field("workload_kind"), field("workload")) {
        (Some(kind), Some(name)) => format!(" of {kind} {name}"),
        _ => String::new(),
    };
    format!("{}:{port}{who}", socket.address)
}
