//! Who is told of a route of Gateway API: subscribers in whose eyes the service's routes are others now.

use weir_api::xds::envoy::config::core::v3::Node;
use weir_discovery::xds::Kind;

use crate::{
    delta::{Delta, kind, names, versions},
    mesh::{Mesh, service},
};

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const LISTENER: &str = "outbound|10.4.0.1:80";

/// A sidecar of a namespace.
pub(crate) fn of(namespace: &str) -> Node {
    Node {
        id: format!("sidecar~10.5.0.7~it.{namespace}~{namespace}.svc.cluster.local"),
        ..Node::default()
    }
}

fn route(namespace: &str, parent: &str, filters: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: it, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: {parent}, namespace: shop}}], \
         rules: [{{filters: [{filters}], backendRefs: [{{name: {parent}, namespace: shop, port: 80}}]}}]}}\n"
    )
}

async fn subscribed(mesh: &Mesh, namespace: &str) -> Delta {
    let mut client = Delta::connect_as(&mesh.address, of(namespace)).await;
    client.subscribe(Kind::Route, &[WEB]).await;
    client.subscribe(Kind::Listener, &[LISTENER]).await;
    assert_eq!(client.settle().await.len(), 2);
    client
}

#[tokio::test]
async fn a_route_is_told_to_whom_it_is_about_and_to_nobody_else() {
    let services = service("web", "10.4.0.1", &[]) + &service("aside", "10.4.0.2", &[]);
    let mut mesh = Mesh::of(&services).await;
    let (mut shop, mut bank) = (
        subscribed(&mesh, "shop").await,
        subscribed(&mesh, "bank").await,
    );

    // For clients of a namespace, to clients there.
    mesh.write("route.yaml", &route("bank", "web", ""));
    let told = bank.settle().await;
    assert_eq!(told.len(), 1);
    assert_eq!(kind(&told[0]), Kind::Route);
    assert_eq!(names(&told[0]).0, [WEB]);
    let own = versions(&told[0]);
    assert_eq!(shop.settle().await, []);
    // Who comes later is told the same.
    let mut late = Delta::connect_as(&mesh.address, of("bank")).await;
    late.subscribe(Kind::Route, &[WEB]).await;
    assert_eq!(versions(&late.settle().await[0]), own);

    // Of another service, to nobody who did not ask for it.
    mesh.write("aside.yaml", &route("shop", "aside", ""));
    assert_eq!((shop.settle().await, bank.settle().await), (vec![], vec![]));

    // For all, to all but those who have their own.
    mesh.write(
        "web.yaml",
        &route("shop", "web", "").replace("name: it", "name: web"),
    );
    assert_eq!(shop.settle().await.len(), 1);
    assert_eq!(bank.settle().await, []);

    // The listener changes where a route says something of other origins, and only for whom.
    let cors = "{type: CORS, cors: {allowOrigins: ['*']}}";
    mesh.write("route.yaml", &route("bank", "web", cors));
    let told = bank.settle().await;
    assert_eq!(
        told.iter().map(kind).collect::<Vec<_>>(),
        [Kind::Listener, Kind::Route]
    );
    assert_eq!(shop.settle().await, []);

    // What goes leaves what was there before.
    mesh.write("route.yaml", "");
    let told = bank.settle().await;
    assert_eq!(told.len(), 2);
    let of_all = shop_version(&mesh).await;
    assert_eq!(versions(&told[1])[WEB], of_all);
}

/// The version of the route that clients in the service's namespace have.
async fn shop_version(mesh: &Mesh) -> String {
    let mut client = Delta::connect_as(&mesh.address, of("shop")).await;
    client.subscribe(Kind::Route, &[WEB]).await;
    versions(&client.settle().await[0])[WEB].clone()
}
