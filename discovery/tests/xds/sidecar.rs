//! What a sidecar is told of its own pod, and of services by where it is.

use std::collections::BTreeMap;

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            core::v3::{Node, address::Address},
            endpoint::v3::lb_endpoint::HostIdentifier,
            listener::v3::Listener,
        },
        service::discovery::v3::DeltaDiscoveryResponse,
    },
    google::protobuf::{Struct, Value, value},
};
use weir_discovery::xds::{AccessLog, Kind, MeshConfig, OutboundMode, OutboundTrafficPolicy};

use crate::{
    ads::CART,
    delta::{Delta, names},
    mesh::{Mesh, service},
};

/// A pod as its sidecar describes it.
fn node(pod: &str, address: &str, machine: &str, ports: &str) -> Node {
    let text = |text: &str| Value {
        kind: Some(value::Kind::StringValue(text.to_owned())),
    };
    let fields = [
        ("INSTANCE_IPS", address),
        ("NODE_NAME", machine),
        ("APP_PORTS", ports),
    ];
    Node {
        id: format!("sidecar~{address}~{pod}.shop~shop.svc.cluster.local"),
        metadata: Some(Struct {
            fields: fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), text(value)))
                .collect(),
        }),
        ..Node::default()
    }
}

fn web() -> Node {
    let ports = r#"[{"containerPort":8080},{"name":"mysql","containerPort":9000},
        {"name":"dns","containerPort":53,"protocol":"UDP"}]"#;
    node("web-0", "10.5.0.7", "node-1", ports)
}

/// A pod that is ready, with the label `app: web`.
const POD: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: web}]}
status: {podIP: 10.5.0.7, phase: Running, conditions: [{type: Ready, status: 'True'}]}
";

/// A service of these ports that selects it.
fn selecting(name: &str, address: &str, ports: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: {address}, selector: {{app: web}}, ports: [{ports}]}}
"
    )
}

/// The listener in a response that holds nothing else.
fn listener(response: &DeltaDiscoveryResponse) -> Listener {
    assert_eq!(response.resources.len(), 1, "{:?}", names(response));
    let body = response.resources[0].resource.as_ref().expect("a body");
    codec::unpack_listener(body).expect("a listener")
}

/// The filter chains for each port.
fn chains(listener: &Listener) -> BTreeMap<u32, Vec<&str>> {
    let mut chains = BTreeMap::<_, Vec<_>>::new();
    for chain in &listener.filter_chains {
        let criteria = chain.filter_chain_match.as_ref();
        let port = criteria.and_then(|it| it.destination_port.as_ref());
        let port = port.map_or(0, |port| port.value);
        chains.entry(port).or_default().push(&*chain.name);
    }
    chains
}

/// The addresses in a response that holds one load assignment.
fn addresses(response: &DeltaDiscoveryResponse) -> Vec<String> {
    let body = response.resources[0].resource.as_ref().expect("a body");
    let assignment = codec::unpack_cluster_load_assignment(body).expect("an assignment");
    let endpoints = assignment.endpoints.iter().flat_map(|it| &it.lb_endpoints);
    let mut addresses: Vec<_> = endpoints
        .map(|endpoint| {
            let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier else {
                panic!("an endpoint by name");
            };
            let address = host.address.as_ref().and_then(|it| it.address.as_ref());
            let Some(Address::SocketAddress(socket)) = address else {
                panic!("no socket address");
            };
            socket.address.clone()
        })
        .collect();
    addresses.sort();
    addresses
}

#[tokio::test]
async fn a_service_that_comes_later_changes_the_chains_of_its_ports_only() {
    let mut mesh = Mesh::of(POD).await;
    let mut client = Delta::connect_as(&mesh.address, web()).await;
    let mut other = Delta::connect_as(&mesh.address, node("x", "10.5.0.8", "", "[]")).await;
    for client in [&mut client, &mut other] {
        client
            .subscribe(Kind::Listener, &["virtualInbound", "virtualInbound_v6"])
            .await;
    }
    let first = client.settle().await;
    let both = &first[0].resources;
    assert_eq!(both.len(), 2);
    let body = both[0].resource.as_ref().expect("a body");
    let before = codec::unpack_listener(body).expect("a listener");
    let web = ["inbound|8080|http", "inbound|8080|tcp", "inbound|8080|tls"];
    let own = [
        (0, vec!["virtualInbound-catchall-http"]),
        (8080, web.to_vec()),
        (9000, vec!["inbound|9000|tcp"]),
        (15006, vec!["virtualInbound-blackhole"]),
    ];
    assert_eq!(chains(&before), own.clone().into());
    other.settle().await;

    // 9000 turns out to be HTTP, and a port that no container declares speaks TLS.
    let ports = "{name: a, port: 80, targetPort: 9000, appProtocol: http}, \
                 {name: b, port: 443, targetPort: 8443, appProtocol: https}";
    mesh.write("web.yaml", &selecting("web", "10.4.0.1", ports));
    let second = client.settle().await;
    let body = second[0].resources[0].resource.as_ref().expect("a body");
    let after = codec::unpack_listener(body).expect("a listener");
    let mut expected = BTreeMap::from(own);
    let http = ["inbound|9000|http", "inbound|9000|tcp", "inbound|9000|tls"];
    expected.insert(9000, http.to_vec());
    expected.insert(8443, vec!["inbound|8443|tcp"]);
    assert_eq!(chains(&after), expected);
    // What nothing was learned of is the same message, so its connections stay.
    for chain in before
        .filter_chains
        .iter()
        .filter(|it| !it.name.contains("9000"))
    {
        assert!(after.filter_chains.contains(chain), "{}", chain.name);
    }
    assert!(
        other.settle().await.is_empty(),
        "it is no business of other pods"
    );

    mesh.write("web.yaml", "");
    let third = client.settle().await;
    let versions = |response: &DeltaDiscoveryResponse| crate::delta::versions(response);
    assert_eq!(versions(&third[0]), versions(&first[0]));
}

#[tokio::test]
async fn the_cluster_of_any_application_port_is_there_for_who_asks() {
    let mesh = Mesh::of(POD).await;
    let mut client = Delta::connect_as(&mesh.address, web()).await;
    let names_asked = ["inbound|08||", "inbound|8443||"];
    client.subscribe(Kind::Cluster, &names_asked).await;
    let told = client.settle().await;
    let mut there: Vec<_> = told.iter().flat_map(|it| names(it).0).collect();
    there.sort_unstable();
    assert_eq!(there, ["inbound|8443||"]);
}

#[tokio::test]
async fn settings_of_the_mesh_reach_those_who_are_connected() {
    let mesh = Mesh::of(&service("cart", "10.4.0.1", &["10.5.0.1"])).await;
    let mut client = Delta::connect_as(&mesh.address, web()).await;
    client.subscribe(Kind::Listener, &["virtualOutbound"]).await;
    let open = listener(&client.next().await);
    let default = |listener: &Listener| {
        let chain = listener.default_filter_chain.as_ref().expect("a default");
        format!("{:?}", chain.filters)
    };
    let passed_through = default(&open);
    assert!(format!("{:?}", open.metadata).contains("on_demand"));

    let closed = MeshConfig {
        outbound_traffic_policy: OutboundTrafficPolicy {
            mode: OutboundMode::RegistryOnly,
        },
        ..MeshConfig::default()
    };
    mesh.hub.set_mesh_config(closed.clone());
    assert_ne!(default(&listener(&client.next().await)), passed_through);

    client
        .subscribe(Kind::Listener, &["outbound|10.4.0.1:80"])
        .await;
    let quiet = client.next().await;
    mesh.hub.set_mesh_config(MeshConfig {
        access_log: AccessLog::Json,
        ..closed.clone()
    });
    let logging = client.next().await;
    assert_eq!(logging.resources.len(), 2, "both listeners log now");
    mesh.hub.set_mesh_config(closed);
    let restored = client.next().await;
    let version = |response: &DeltaDiscoveryResponse| {
        crate::delta::versions(response)["outbound|10.4.0.1:80"].clone()
    };
    assert_eq!(version(&restored), version(&quiet));
    mesh.hub.set_mesh_config(MeshConfig::default());
    assert_eq!(default(&listener(&client.next().await)), passed_through);
}

/// A service on two nodes of two zones each, with this said about where its traffic goes.
fn spread(policy: &str) -> String {
    let nodes = [
        ("node-1", "a"),
        ("node-2", "a"),
        ("node-3", "b"),
        ("node-4", "c"),
    ];
    let mut text: String = nodes
        .iter()
        .map(|(name, zone)| {
            let label = format!("topology.kubernetes.io/zone: {zone}");
            format!("\n---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{label}}}}}\n")
        })
        .collect();
    text += &service("cart", "10.4.0.1", &[])
        .replace(
            "clusterIP: 10.4.0.1",
            &format!("clusterIP: 10.4.0.1{policy}"),
        )
        .replace(
            "endpoints: []",
            "endpoints:
- {addresses: [10.5.0.1], nodeName: node-1}
- {addresses: [10.5.0.2], nodeName: node-2}
- {addresses: [10.5.0.3], nodeName: node-3}",
        );
    text
}

#[tokio::test]
async fn a_client_uses_the_endpoints_that_kube_proxy_would_give_it() {
    let all = vec!["10.5.0.1", "10.5.0.2", "10.5.0.3"];
    for (policy, machine, expected) in [
        ("", "node-1", all.clone()),
        (", internalTrafficPolicy: Local", "node-1", vec!["10.5.0.1"]),
        // None there: kube-proxy is left to drop it.
        (", internalTrafficPolicy: Local", "node-4", vec!["10.4.0.1"]),
        (
            ", trafficDistribution: PreferClose",
            "node-2",
            vec!["10.5.0.1", "10.5.0.2"],
        ),
        (
            ", trafficDistribution: PreferSameZone",
            "node-3",
            vec!["10.5.0.3"],
        ),
        (
            ", trafficDistribution: PreferSameZone",
            "node-4",
            all.clone(),
        ),
        (
            ", trafficDistribution: PreferSameNode",
            "node-2",
            vec!["10.5.0.2"],
        ),
        (
            ", trafficDistribution: PreferSameNode",
            "node-4",
            all.clone(),
        ),
        // Nobody knows where it is.
        (", trafficDistribution: PreferSameZone", "", all.clone()),
    ] {
        let mesh = Mesh::of(&spread(policy)).await;
        let client = node("client", "10.5.9.9", machine, "[]");
        let mut client = Delta::connect_as(&mesh.address, client).await;
        client.subscribe(Kind::Endpoint, &[CART]).await;
        let told = addresses(&client.next().await);
        assert_eq!(told, expected, "{policy} on {machine:?}");
    }
}

#[tokio::test]
async fn hints_count_if_all_endpoints_have_them() {
    let hinted = spread("")
        .replace(
            "nodeName: node-1",
            "nodeName: node-1, hints: {forZones: [{name: b}]}",
        )
        .replace(
            "nodeName: node-2",
            "nodeName: node-2, hints: {forZones: [{name: a}]}",
        );
    let all_hinted = hinted.replace(
        "nodeName: node-3",
        "nodeName: node-3, hints: {forZones: [{name: a}]}",
    );
    for (manifests, expected) in [
        (&hinted, vec!["10.5.0.1", "10.5.0.2", "10.5.0.3"]),
        (&all_hinted, vec!["10.5.0.2", "10.5.0.3"]),
    ] {
        let mesh = Mesh::of(manifests).await;
        let client = node("client", "10.5.9.9", "node-1", "[]");
        let mut client = Delta::connect_as(&mesh.address, client).await;
        client.subscribe(Kind::Endpoint, &[CART]).await;
        assert_eq!(addresses(&client.next().await), expected);
    }
}

#[tokio::test]
async fn clients_of_one_zone_follow_a_change_and_those_of_another_hear_nothing() {
    let policy = ", trafficDistribution: PreferSameZone";
    let mut mesh = Mesh::of(&spread(policy)).await;
    let mut near = Delta::connect_as(&mesh.address, node("a", "10.5.9.1", "node-1", "[]")).await;
    let mut far = Delta::connect_as(&mesh.address, node("b", "10.5.9.2", "node-3", "[]")).await;
    for client in [&mut near, &mut far] {
        client.subscribe(Kind::Endpoint, &[CART]).await;
        client.settle().await;
    }
    let lost = spread(policy).replace("\n- {addresses: [10.5.0.2], nodeName: node-2}", "");
    mesh.write("mesh.yaml", &lost);
    let told = near.settle().await;
    assert_eq!(addresses(&told[0]), ["10.5.0.1"]);
    assert!(far.settle().await.is_empty());
    // The node of a client turns out to be elsewhere.
    let moved = lost.replace("zone: b", "zone: a");
    mesh.write("mesh.yaml", &moved);
    assert_eq!(addresses(&far.settle().await[0]), ["10.5.0.1", "10.5.0.3"]);
}

#[tokio::test]
async fn a_service_without_endpoints_is_left_to_its_own_address() {
    let mut mesh = Mesh::of(&service("cart", "10.4.0.1", &[])).await;
    let mut client = Delta::connect_as(&mesh.address, web()).await;
    client.subscribe(Kind::Endpoint, &[CART]).await;
    assert_eq!(addresses(&client.next().await), ["10.4.0.1"]);
    mesh.write("mesh.yaml", &service("cart", "10.4.0.1", &["10.5.0.1"]));
    assert_eq!(addresses(&client.next().await), ["10.5.0.1"]);
}

#[tokio::test]
async fn a_sidecar_is_told_whose_an_address_is_while_it_is_so() {
    let mut mesh = Mesh::of(POD).await;
    let mut client = Delta::connect_as(&mesh.address, web()).await;
    let (own, other) = ("workload|10.5.0.7", "workload|10.5.0.9");
    client.subscribe(Kind::Endpoint, &[own, other]).await;
    let first = client.settle().await;
    let told: Vec<_> = first.iter().flat_map(|it| names(it).0).collect();
    assert_eq!(told, [own]);
    // That there is no such pod as the other may be told before.
    let first = first.iter().find(|it| !it.resources.is_empty());
    let first = first.expect("one with a resource");
    assert_eq!(addresses(first), ["10.5.0.7"]);
    assert_eq!(workload(first), ["web-0", "shop", "web"]);

    mesh.write("mesh.yaml", &POD.replace("app: web", "app: front"));
    let second = client.settle().await;
    assert_eq!(workload(&second[0]), ["web-0", "shop", "front"]);
    mesh.write("mesh.yaml", "");
    let third = client.settle().await;
    assert_eq!(third[0].removed_resources, [own]);
}

#[tokio::test]
async fn the_inbound_listener_says_which_service_leads_to_a_port() {
    let ports = "{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: 9000}";
    let mesh = Mesh::of(&(POD.to_owned() + &selecting("web", "10.4.0.1", ports))).await;
    let mut client = Delta::connect_as(&mesh.address, web()).await;
    client.subscribe(Kind::Listener, &["virtualInbound"]).await;
    let listener = listener(&client.next().await);
    let (namespace, field) = weir_api::workload::SERVICES;
    let metadata = listener.metadata.expect("metadata");
    let said = &metadata.filter_metadata[namespace].fields[field].kind;
    let expected = "8080=web.shop.svc.cluster.local,9000=web.shop.svc.cluster.local";
    assert_eq!(*said, Some(value::Kind::StringValue(expected.to_owned())));
}

/// Name, namespace and app in a response that holds whose an address is.
fn workload(response: &DeltaDiscoveryResponse) -> [String; 3] {
    let body = response.resources[0].resource.as_ref().expect("a body");
    let assignment = codec::unpack_cluster_load_assignment(body).expect("an assignment");
    let endpoint = &assignment.endpoints[0].lb_endpoints[0];
    let metadata = endpoint.metadata.as_ref().expect("metadata");
    let fields = &metadata.filter_metadata["weir.dev"].fields;
    ["workload", "namespace", "app"].map(|field| match &fields[field].kind {
        Some(value::Kind::StringValue(text)) => text.clone(),
        other => panic!("{field}: {other:?}"),
    })
}
