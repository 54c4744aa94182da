//! The data plane takes every resource the control plane makes.

use std::{fs, path::Path, sync::Arc};

use weir_api::{
    sidecar::PodPort,
    xds::{
        codec,
        envoy::config::{
            core::v3::transport_socket::ConfigType,
            listener::v3::{FilterChain, Listener},
        },
        json,
    },
};
use weir_discovery::{
    manifests::Directory,
    model::{
        Attachment, Effect, Event, InboundTls, InboundTlsRule, Index, NamespacedName, Object,
        RuleName, Snapshot, Target,
    },
    rules,
    xds::{
        AccessLog, Client, Generator, Kind, MeshConfig, OutboundMode, OutboundTrafficPolicy,
        Resource, Settings, View,
    },
};
use weir_proxy::convert;

#[test]
fn every_resource_of_every_golden_manifest_is_accepted() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../discovery/tests/golden");
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut resources = 0;
    for entry in fs::read_dir(golden).expect("golden files") {
        let path = entry.expect("entry").path();
        if !path.to_string_lossy().ends_with(".in.yaml") {
            continue;
        }
        fs::copy(&path, directory.path().join("manifests.yaml")).expect("copy");
        resources += accept_all(directory.path());
    }
    assert!(resources > 50, "{resources}");
}

fn accept_all(manifests: &Path) -> usize {
    let (_, events) = Directory::open(manifests, rules::Settings::default()).expect("manifests");
    let mut index = Index::default();
    events.into_iter().for_each(|event| index.apply(event));
    index.commit();
    let (generator, snapshot) = (generator(), index.snapshot());
    let mut count = 0;
    for kind in Kind::ALL {
        for name in generator.names(&snapshot, kind) {
            let resource = generator
                .resource(&snapshot, kind, &name)
                .expect("is named");
            let by_mutual_tls = (kind == Kind::Cluster)
                .then(|| generator.resource_for(&snapshot, kind, &name, &View::MutualTls(None)))
                .flatten();
            for resource in [Some(resource), by_mutual_tls].iter().flatten() {
                if let Err(error) = accept(kind, resource) {
                    panic!("{error}");
                }
            }
            count += 1;
        }
    }
    count
}

fn accept(kind: Kind, resource: &Resource) -> Result<(), convert::ConfigError> {
    let bytes = &resource.body.value;
    match kind {
        Kind::Listener => {
            convert::listener(codec::decode_listener(bytes).expect("decode")).map(drop)
        }
        Kind::Cluster => convert::cluster(codec::decode_cluster(bytes).expect("decode")).map(drop),
        Kind::Endpoint => {
            let message = codec::decode_cluster_load_assignment(bytes).expect("decode");
            convert::load_assignment(message).map(drop)
        }
        Kind::Route => {
            let message = codec::decode_route_configuration(bytes).expect("decode");
            convert::route_configuration(message).map(drop)
        }
        Kind::Secret => Ok(()),
    }
}

/// The sidecar of the agent's golden files.
fn sidecar(mutual_tls: bool) -> View {
    let port = |number: u16, name: Option<&str>, protocol: Option<&str>| PodPort {
        name: name.map(str::to_owned),
        container_port: number,
        protocol: protocol.map(str::to_owned),
    };
    View::Sidecar(Arc::new(Client {
        pod: Some(NamespacedName::new("shop", "web-1")),
        ports: vec![
            port(8080, Some("http"), Some("TCP")),
            port(3306, Some("mysql-main"), None),
            port(9000, None, None),
            port(9000, Some("tcp"), None),
            port(53, Some("dns"), Some("UDP")),
        ],
        mutual_tls,
        ..Client::default()
    }))
}

/// A model in which a rule says this of that sidecar.
fn demanded(inbound_tls: &str) -> Arc<Snapshot> {
    let InboundTls { mode, ports } = inbound_tls.parse().expect("JSON");
    let mut index = Index::default();
    index.apply(Event::Applied(Object::Attachment(Attachment {
        rule: RuleName {
            kind: "PeerAuthentication",
            name: NamespacedName::new("shop", "rule"),
        },
        created: None,
        target: Target::Namespace,
        effect: Effect::InboundTls(InboundTlsRule {
            mode: Some(mode),
            ports,
        }),
    })));
    index.commit();
    index.snapshot()
}

fn generator() -> Generator {
    Generator::new(Settings {
        mutual_tls: true,
        ..Settings::default()
    })
}

/// What is read from text has its fields in another order, but for the sidecar itself.
fn encode_again(chain: &mut FilterChain) {
    let socket = chain.transport_socket.as_mut();
    if let Some(ConfigType::TypedConfig(any)) = socket.and_then(|it| it.config_type.as_mut()) {
        let context = codec::unpack_downstream_tls_context(any).expect("a context");
        *any = codec::pack_downstream_tls_context(&context);
    }
}

#[test]
fn a_sidecars_own_filter_chains_are_those_of_the_control_plane_while_it_knows_no_more() {
    // What the sidecar was told at admission, a rule says to the control plane.
    let strict = r#"{"mode": "STRICT", "ports": {"7070": "DISABLE", "9000": "PERMISSIVE", "6060": "STRICT"}}"#;
    let one_strict = r#"{"mode": "DISABLE", "ports": {"8080": "STRICT"}}"#;
    for (golden, demanded_of_it, mutual_tls) in [
        ("bootstrap-ports.yaml", "{}", true),
        ("bootstrap-strict.yaml", strict, true),
        ("bootstrap-strict-port.yaml", one_strict, true),
        ("bootstrap-refused.yaml", strict, false),
    ] {
        same_as_the_control_planes(golden, &demanded(demanded_of_it), &sidecar(mutual_tls));
    }
}

/// Equal messages are equal chains, whose connections stay when the one replaces the other.
fn same_as_the_control_planes(file: &str, snapshot: &Snapshot, view: &View) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/golden");
    let text = fs::read_to_string(golden.join(file)).expect("golden file");
    let bootstrap = json::read_bootstrap(&text).expect("bootstrap");
    let own = bootstrap.static_resources.expect("resources");
    let generator = generator();
    assert_eq!(own.listeners.len(), 4, "two of each family");
    for mut listener in own.listeners {
        listener.filter_chains.iter_mut().for_each(encode_again);
        let name = format!("{file}: {}", listener.name);
        let told = generator.resource_for(snapshot, Kind::Listener, &listener.name, view);
        let told = codec::unpack_listener(&told.expect("is known").body).expect("listener");
        assert_eq!(told.address, listener.address, "{name}");
        assert_eq!(told.listener_filters, listener.listener_filters, "{name}");
        for chain in listener
            .filter_chains
            .iter()
            .chain(&listener.default_filter_chain)
        {
            let chains = || told.filter_chains.iter().chain(&told.default_filter_chain);
            let same = chains().find(|it| it.name == chain.name);
            assert_eq!(Some(chain), same, "{name}");
        }
        let chains = |it: &Listener| (it.filter_chains.len(), it.default_filter_chain.is_some());
        assert_eq!(chains(&told), chains(&listener), "{name}");
    }
    let inbound = own
        .clusters
        .iter()
        .filter(|it| it.name.starts_with("inbound|"));
    for cluster in inbound {
        let told = generator.resource(snapshot, Kind::Cluster, &cluster.name);
        let told = codec::unpack_cluster(&told.expect("is known").body).expect("cluster");
        assert_eq!(&told, cluster);
    }
}

#[test]
fn listeners_of_a_sidecar_are_accepted_under_all_settings_of_the_mesh() {
    let snapshot = Snapshot::default();
    for access_log in [AccessLog::Off, AccessLog::Text, AccessLog::Json] {
        for mode in [OutboundMode::AllowAny, OutboundMode::RegistryOnly] {
            let generator = generator().with_mesh(MeshConfig {
                access_log,
                outbound_traffic_policy: OutboundTrafficPolicy { mode },
                ..MeshConfig::default()
            });
            for name in ["virtualInbound", "virtualInbound_v6", "virtualOutbound"] {
                for view in [sidecar(true), View::Everyone] {
                    let told = generator.resource_for(&snapshot, Kind::Listener, name, &view);
                    if let Some(told) = told {
                        accept(Kind::Listener, &told).unwrap_or_else(|error| panic!("{error}"));
                    } else {
                        assert_eq!(name, "virtualInbound_v6", "only sidecars ask for it");
                    }
                }
            }
        }
    }
}
