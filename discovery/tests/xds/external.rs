//! Who is told of hosts outside of the mesh: sidecars that asked for an address that is nobody's, on a port on
//! which a host is declared.

use weir_discovery::xds::Kind;

use crate::{
    delta::{Delta, kind, names},
    mesh::{Mesh, service},
    routes::of,
};

const NOBODYS: &str = "outbound|203.0.113.1:443";
const ELSEWHERE: &str = "outbound|203.0.113.1:80";

fn entry(more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {{name: it, namespace: shop}}\nspec: {{hosts: [api.example.com], resolution: NONE, \
         ports: [{{number: 443, name: tls, protocol: TLS}}], {more}}}\n"
    )
}

async fn subscribed(mesh: &Mesh, namespace: &str) -> Delta {
    let mut client = Delta::connect_as(&mesh.address, of(namespace)).await;
    client
        .subscribe(Kind::Listener, &[NOBODYS, ELSEWHERE])
        .await;
    for message in client.settle().await {
        assert_eq!(names(&message).0, [""; 0], "there is nothing yet");
    }
    client
}

#[tokio::test]
async fn a_host_is_told_to_who_asked_for_an_address_on_its_port_and_may_know_it() {
    let mut mesh = Mesh::of(&service("web", "10.4.0.1", &["10.5.0.1"])).await;
    let mut shop = subscribed(&mesh, "shop").await;
    let mut bank = subscribed(&mesh, "bank").await;

    mesh.write("host.yaml", &entry("exportTo: ['.']"));
    let told = shop.settle().await;
    assert_eq!(told.iter().map(kind).collect::<Vec<_>>(), [Kind::Listener]);
    assert_eq!(names(&told[0]).0, [NOBODYS]);
    assert_eq!(bank.settle().await, []);

    mesh.write("host.yaml", &entry("exportTo: ['*']"));
    let told = bank.settle().await;
    assert_eq!(names(&told[0]).0, [NOBODYS]);

    // An address that a network takes is the host's, and no longer nobody's.
    mesh.write("host.yaml", &entry("addresses: [203.0.113.0/24]"));
    assert_eq!(names(&shop.settle().await[0]).0, [NOBODYS]);

    mesh.write("host.yaml", "");
    let told = shop.settle().await;
    assert!(
        told.iter().all(|it| names(it).1 == [NOBODYS]) && !told.is_empty(),
        "{told:?}"
    );
}

#[tokio::test]
async fn who_may_reach_only_what_is_known_is_told_so_and_nobody_else() {
    let mut mesh = Mesh::of(&service("web", "10.4.0.1", &["10.5.0.1"])).await;
    let mut shop = subscribed(&mesh, "shop").await;
    let mut bank = subscribed(&mesh, "bank").await;
    let refusing = "apiVersion: networking.istio.io/v1\nkind: Sidecar\n\
        metadata: {name: it, namespace: shop}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n";
    mesh.write("sidecar.yaml", refusing);
    let told = shop.settle().await;
    let mut listeners: Vec<_> = told.iter().flat_map(|it| names(it).0).collect();
    listeners.sort_unstable();
    assert_eq!(listeners, [NOBODYS, ELSEWHERE]);
    assert_eq!(bank.settle().await, []);
    mesh.write("sidecar.yaml", "");
    assert!(shop.settle().await.iter().all(|it| names(it).0.is_empty()));
}
