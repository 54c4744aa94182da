//! A sidecar's own filter chains are the messages that the control plane sends, so that connections
//! outlive the change from one to the other.

use std::{process::Command, sync::Arc};

use weir_api::{
    sidecar::PodPort,
    xds::{
        codec,
        envoy::config::{core::v3::transport_socket::ConfigType, listener::v3::FilterChain},
        json,
    },
};
use weir_discovery::{
    model::{NamespacedName, Snapshot},
    xds::{Client, Generator, Kind, Settings},
};
use weir_process::command::{LIMIT, execute};
use weir_tests::skip;

const PORTS: &str = r#"[{"name":"http","containerPort":8080},{"name":"grpc","containerPort":8081},
    {"name":"tcp-feed","containerPort":9000},{"name":"any","containerPort":7000}]"#;

/// What is read from text has its fields in another order, but for the sidecar itself.
fn encode_again(chain: &mut FilterChain) {
    let socket = chain.transport_socket.as_mut();
    if let Some(ConfigType::TypedConfig(any)) = socket.and_then(|it| it.config_type.as_mut()) {
        let context = codec::unpack_downstream_tls_context(any).expect("a context");
        *any = codec::pack_downstream_tls_context(&context);
    }
}

#[test]
fn chains_of_the_bootstrap_are_those_of_the_control_plane() {
    let Some(agent) = skip::built("weir-agent") else {
        return;
    };
    let ports: Vec<PodPort> = serde_json::from_str(PORTS).expect("ports");
    let generator = Generator::new(Settings {
        mutual_tls: true,
        ..Settings::default()
    });
    for control_plane in ["", "127.0.0.1:15012"] {
        let mut command = Command::new(&agent);
        command.args(["run", "--print-bootstrap", "--pod-ip", "10.4.0.7"]);
        command.args(["--pod-ports", PORTS, "--control-plane", control_plane]);
        let yaml = execute(&mut command, "", LIMIT).expect("a bootstrap");
        let bootstrap = json::read_bootstrap(&yaml).expect("a bootstrap");
        let listeners = bootstrap.static_resources.expect("resources").listeners;
        let own = listeners
            .into_iter()
            .find(|listener| listener.name == "virtualInbound");
        let mut own = own.expect("the listener");
        own.filter_chains.iter_mut().for_each(encode_again);

        let client = Arc::new(Client {
            pod: Some(NamespacedName::new("default", "unknown")),
            ports: ports.clone(),
            mutual_tls: !control_plane.is_empty(),
            ..Client::default()
        });
        let (snapshot, name) = (Snapshot::default(), "virtualInbound");
        let view = generator.view(&snapshot, Kind::Listener, name, &client);
        let sent = generator.resource_for(&snapshot, Kind::Listener, name, &view);
        let sent = codec::decode_listener(&sent.expect("the listener").body.value);
        let sent = sent.expect("a listener");
        let tls = sent.filter_chains.iter();
        let tls = tls.filter(|chain| chain.transport_socket.is_some()).count();
        assert_eq!(tls, if client.mutual_tls { 7 } else { 0 });

        // The order of chains means nothing, and the catch-all of each is not matched by a port.
        for chain in sent.filter_chains.iter().chain(&sent.default_filter_chain) {
            let all = own.filter_chains.iter().chain(&own.default_filter_chain);
            let same = all.clone().find(|own| own.name == chain.name);
            assert_eq!(same, Some(chain), "{}", chain.name);
        }
        assert_eq!(own.filter_chains.len(), sent.filter_chains.len());
    }
}
