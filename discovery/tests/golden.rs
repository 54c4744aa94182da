//! Manifests in, what sidecars are told out: `golden/NAME.in.yaml` gives `golden/NAME.out.txt`, a
//! line for each listener and each load assignment. `golden/resources.in.yaml` gives whole resources
//! as YAML. `REFRESH_GOLDEN=1` rewrites what is expected.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use weir_api::xds::{
    codec,
    envoy::config::{
        core::v3::address::Address,
        endpoint::v3::{LbEndpoint, lb_endpoint::HostIdentifier},
        listener::v3::{FilterChain, filter},
    },
    json,
};
use weir_discovery::{
    manifests::Directory,
    model::{Index, Snapshot},
    xds::{Generator, Kind, Resource},
};

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
    for case in ["resources", "affinity"] {
        let snapshot = snapshot(&directory().join(format!("{case}.in.yaml")));
        let mut text = String::new();
        for (kind, resource) in resources(&snapshot) {
            let yaml = descriptors.to_yaml(&resource.body);
            writeln!(text, "--- # {} {}\n{yaml}", kind.word(), resource.name).expect("a string");
        }
        check(&directory().join(format!("{case}.out.yaml")), &text);
    }
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
    let (_, events) = Directory::open(directory.path())
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

fn check(path: &Path, actual: &str) {
    if std::env::var_os("REFRESH_GOLDEN").is_some() {
        fs::write(path, actual).expect("golden file");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        expected,
        actual,
        "{}: REFRESH_GOLDEN=1 rewrites it",
        path.display()
    );
}
