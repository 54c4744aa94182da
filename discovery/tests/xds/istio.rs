//! Who is told of a rule of Istio's: subscribers in whose eyes a resource is another one now.

use weir_discovery::xds::Kind;

use crate::{
    delta::{Delta, kind, names},
    mesh::{Mesh, service},
    routes::of,
};

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const OLD: &str = "outbound|80|old|web.shop.svc.cluster.local";

fn rule(kind: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\n\
         metadata: {{name: it, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

async fn subscribed(mesh: &Mesh, namespace: &str) -> Delta {
    let mut client = Delta::connect_as(&mesh.address, of(namespace)).await;
    client.subscribe(Kind::Cluster, &[WEB]).await;
    client.subscribe(Kind::Route, &[WEB]).await;
    assert_eq!(client.settle().await.len(), 2);
    client
}

#[tokio::test]
async fn a_rule_is_told_to_whom_it_is_about_and_an_unrelated_one_to_nobody() {
    let services = service("web", "10.4.0.1", &["10.5.0.1"]) + &service("aside", "10.4.0.2", &[]);
    let mut mesh = Mesh::of(&services).await;
    let mut shop = subscribed(&mesh, "shop").await;
    let mut bank = subscribed(&mesh, "bank").await;
    let host = "host: web.shop.svc.cluster.local";
    let pool = "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}";

    // Of another service, to nobody who did not ask for it.
    for (kind, spec) in [
        ("DestinationRule", format!("host: aside, {pool}")),
        (
            "VirtualService",
            "hosts: [aside], http: [{directResponse: {status: 200}}]".to_owned(),
        ),
    ] {
        mesh.write("aside.yaml", &rule(kind, "shop", &spec));
        assert_eq!(
            (shop.settle().await, bank.settle().await),
            (vec![], vec![]),
            "{kind}"
        );
    }

    mesh.write("aside.yaml", "");

    // For callers of a namespace, to callers there.
    mesh.write(
        "bank.yaml",
        &rule("DestinationRule", "bank", &format!("{host}, {pool}")),
    );
    let told = bank.settle().await;
    assert_eq!(told.iter().map(kind).collect::<Vec<_>>(), [Kind::Cluster]);
    assert_eq!(names(&told[0]).0, [WEB]);
    assert_eq!(shop.settle().await, []);
    let own = "hosts: [web], exportTo: ['.'], http: [{directResponse: {status: 200}}]";
    mesh.write("shop.yaml", &rule("VirtualService", "shop", own));
    let told = shop.settle().await;
    assert_eq!(told.iter().map(kind).collect::<Vec<_>>(), [Kind::Route]);
    assert_eq!(bank.settle().await, []);

    // A subset is there for who asks for it, once somebody has it, and goes with its rule.
    shop.subscribe(Kind::Cluster, &[OLD]).await;
    shop.subscribe(Kind::Endpoint, &[OLD]).await;
    for message in shop.settle().await {
        assert_eq!(names(&message).0, [""; 0]);
    }
    let subset = format!("{host}, subsets: [{{name: old, labels: {{}}}}]");
    mesh.write("subset.yaml", &rule("DestinationRule", "shop", &subset));
    let told = shop.settle().await;
    assert_eq!(
        told.iter().map(kind).collect::<Vec<_>>(),
        [Kind::Cluster, Kind::Endpoint]
    );
    assert!(told.iter().all(|it| names(it).0 == [OLD]));
    mesh.write("subset.yaml", "");
    let told = shop.settle().await;
    assert!(
        told.iter().all(|it| names(it).1 == [OLD]) && !told.is_empty(),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_leaves_in_force_what_was_said_before() {
    let mut mesh = Mesh::of(&service("web", "10.4.0.1", &[])).await;
    let mut shop = subscribed(&mesh, "shop").await;
    let good = "hosts: [web], http: [{directResponse: {status: 200}}]";
    mesh.write("rule.yaml", &rule("VirtualService", "shop", good));
    assert_eq!(shop.settle().await.len(), 1);
    mesh.write(
        "rule.yaml",
        &rule("VirtualService", "shop", "hosts: [web], http: [{rout: []}]"),
    );
    assert_eq!(shop.settle().await, []);
}
