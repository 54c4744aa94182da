//! The ADS server over loopback: what clients are told, and when.

use std::collections::HashMap;

use weir_api::xds::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use weir_discovery::xds::Kind;

use crate::{
    delta::{Delta, kind, names, versions},
    mesh::{Mesh, service},
};

pub(crate) const NODE: &str = "sidecar~10.5.9.9~client.shop~shop.svc.cluster.local";
pub(crate) const CART: &str = "outbound|80||cart.shop.svc.cluster.local";
const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const CART_LISTENER: &str = "outbound|10.4.0.1:80";
const WEB_LISTENER: &str = "outbound|10.4.0.2:80";

fn cart(endpoints: &[&str]) -> String {
    service("cart", "10.4.0.1", endpoints)
}

fn web(endpoints: &[&str]) -> String {
    service("web", "10.4.0.2", endpoints)
}

#[tokio::test]
async fn a_client_is_told_what_it_asks_for_and_nothing_else() {
    let mesh = Mesh::of(&(cart(&["10.5.0.1"]) + &web(&["10.5.0.2"]))).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Listener, &[CART_LISTENER]).await;
    let response = client.next().await;
    assert_eq!(names(&response), (vec![CART_LISTENER], vec![]));
    assert_eq!(kind(&response), Kind::Listener);
    for kind in [Kind::Cluster, Kind::Endpoint, Kind::Route] {
        client.subscribe(kind, &[CART]).await;
        assert_eq!(
            names(&client.next().await),
            (vec![CART], vec![]),
            "{kind:?}"
        );
    }
    assert!(client.settle().await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_absent_until_it_comes() {
    let mut mesh = Mesh::of(&cart(&["10.5.0.1"])).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client
        .subscribe(Kind::Listener, &[WEB_LISTENER, "nonsense"])
        .await;
    let (there, mut gone) = (client.next().await, vec![WEB_LISTENER, "nonsense"]);
    gone.sort_unstable();
    assert_eq!(names(&there), (vec![], vec!["nonsense", WEB_LISTENER]));

    mesh.write("web.yaml", &web(&["10.5.0.2"]));
    assert_eq!(names(&client.next().await), (vec![WEB_LISTENER], vec![]));
    mesh.write("web.yaml", "");
    assert_eq!(names(&client.next().await), (vec![], vec![WEB_LISTENER]));
    assert!(client.settle().await.is_empty());
}

#[tokio::test]
async fn nobody_is_told_that_something_is_absent_before_the_registry_was_read() {
    let mut mesh = Mesh::unsynced().await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Listener, &[CART_LISTENER]).await;
    client.subscribe(Kind::Cluster, &["nonsense"]).await;
    mesh.write("mesh.yaml", &cart(&["10.5.0.1"]));
    let mut told = [client.next().await, client.next().await];
    told.sort_by_key(kind);
    assert_eq!(names(&told[0]), (vec![], vec!["nonsense"]));
    assert_eq!(names(&told[1]), (vec![CART_LISTENER], vec![]));
}

#[tokio::test]
async fn a_change_of_endpoints_reaches_subscribers_only_and_is_all_they_get() {
    let mut mesh = Mesh::of(&(cart(&["10.5.0.1"]) + &web(&["10.5.0.2"]))).await;
    let mut user = Delta::connect(&mesh.address, "user").await;
    let mut other = Delta::connect(&mesh.address, "other").await;
    for (client, name, listener) in [
        (&mut user, CART, CART_LISTENER),
        (&mut other, WEB, WEB_LISTENER),
    ] {
        client.subscribe(Kind::Listener, &[listener]).await;
        for kind in [Kind::Cluster, Kind::Endpoint, Kind::Route] {
            client.subscribe(kind, &[name]).await;
        }
        assert_eq!(client.settle().await.len(), 4);
    }
    mesh.write(
        "mesh.yaml",
        &(cart(&["10.5.0.1", "10.5.0.3"]) + &web(&["10.5.0.2"])),
    );
    let told = user.settle().await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (kind(&told[0]), names(&told[0])),
        (Kind::Endpoint, (vec![CART], vec![]))
    );
    assert!(other.settle().await.is_empty());
}

#[tokio::test]
async fn lost_endpoints_are_said_first() {
    let mut mesh = Mesh::of(&(cart(&["10.5.0.1"]) + &web(&["10.5.0.2", "10.5.0.3"]))).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Endpoint, &[CART, WEB]).await;
    client.subscribe(Kind::Cluster, &[CART]).await;
    client.settle().await;
    // One grows and changes its protocol, the other shrinks.
    let cart = cart(&["10.5.0.1", "10.5.0.4"]).replace("name: http", "name: grpc");
    mesh.write("mesh.yaml", &(cart + &web(&["10.5.0.2"])));
    let told = client.settle().await;
    let told: Vec<_> = told.iter().map(|it| (kind(it), names(it).0[0])).collect();
    let expected = [
        (Kind::Endpoint, WEB),
        (Kind::Cluster, CART),
        (Kind::Endpoint, CART),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn acks_and_nacks_are_kept_by_client_and_resource() {
    let mesh = Mesh::of(&(cart(&["10.5.0.1"]) + &web(&["10.5.0.2"]))).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Cluster, &[CART, WEB]).await;
    let response = client.raw().await;
    let reason = format!("cluster {WEB}: lb_policy: not supported");
    client.nack(&response, &reason).await;
    client.settle().await;

    let status = mesh.hub.status();
    assert_eq!(status.clients[0].node, NODE);
    let clusters = &status.clients[0].types[0];
    assert_eq!((clusters.kind, clusters.subscribed), ("cluster", 2));
    let states: Vec<_> = clusters
        .resources
        .iter()
        .map(|it| (it.name.as_str(), it.state))
        .collect();
    assert_eq!(states, [(CART, "acked"), (WEB, "nacked")]);
    assert_eq!(
        clusters.resources[1].error.as_deref(),
        Some(reason.as_str())
    );
    assert_eq!(mesh.hub.metrics().counts().kinds[&Kind::Cluster].nacks, 1);
}

#[tokio::test]
async fn a_client_that_comes_back_is_sent_what_changed_meanwhile() {
    let mut mesh = Mesh::of(&(cart(&["10.5.0.1"]) + &web(&["10.5.0.2"]))).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Endpoint, &[CART, WEB]).await;
    let mut have = versions(&client.next().await);
    drop(client);
    mesh.write("mesh.yaml", &(cart(&["10.5.0.1"]) + &web(&["10.5.0.3"])));

    let mut client = Delta::connect(&mesh.address, NODE).await;
    have.insert(
        "outbound|80||old.shop.svc.cluster.local".to_owned(),
        "x".to_owned(),
    );
    let all = [CART, WEB, "outbound|80||old.shop.svc.cluster.local"];
    client.resume(Kind::Endpoint, &all, have).await;
    let told = client.settle().await;
    let told: Vec<_> = told.iter().map(names).collect();
    assert_eq!(told, [(vec![WEB], vec![]), (vec![], vec![all[2]])]);
}

#[tokio::test]
async fn a_wildcard_client_gets_everything_and_hears_of_what_goes() {
    let mut mesh = Mesh::of(&(cart(&["10.5.0.1"]) + &web(&[]))).await;
    let mut client = Delta::connect(&mesh.address, "envoy").await;
    // A first request that names nothing is the old way to say it.
    client.subscribe(Kind::Listener, &[]).await;
    client.subscribe(Kind::Cluster, &["*"]).await;
    let told = client.settle().await;
    let of = |wanted: Kind| {
        let told = told.iter().filter(move |it| kind(it) == wanted);
        told.flat_map(|it| names(it).0).collect::<Vec<_>>()
    };
    let listeners = [
        "outbound|10.4.0.1:80",
        "outbound|10.4.0.2:80",
        "outbound|10.5.0.1:8080",
        "virtualInbound",
        "virtualOutbound",
    ];
    let clusters = [
        "BlackHoleCluster",
        "InboundPassthroughCluster",
        "PassthroughCluster",
        "outbound|8080||10-5-0-1.cart.shop.svc.cluster.local",
        CART,
        WEB,
    ];
    assert_eq!(of(Kind::Listener), listeners);
    assert_eq!(of(Kind::Cluster), clusters);

    mesh.write("mesh.yaml", &web(&[]));
    let told = client.settle().await;
    let told: Vec<_> = told
        .iter()
        .map(|it| (kind(it), names(it).1.len()))
        .collect();
    assert_eq!(told, [(Kind::Listener, 2), (Kind::Cluster, 2)]);
}

#[tokio::test]
async fn a_client_that_does_not_answer_holds_nobody_back_and_misses_nothing_but_history() {
    let mut mesh = Mesh::of(&cart(&["10.5.0.1"])).await;
    let mut slow = Delta::connect(&mesh.address, "slow").await;
    let mut quick = Delta::connect(&mesh.address, "quick").await;
    for client in [&mut slow, &mut quick] {
        client.subscribe(Kind::Endpoint, &[CART]).await;
    }
    quick.settle().await;
    let mut unanswered = vec![slow.raw().await];
    let mut latest = HashMap::new();
    for change in 2..60 {
        mesh.write("mesh.yaml", &cart(&[&format!("10.5.0.{change}")]));
        latest = versions(&quick.next().await);
    }
    while unanswered.last().map(versions) != Some(latest.clone()) {
        if unanswered.len() == 16 {
            // It gets no more until it answers, and then the latest.
            for response in &unanswered {
                slow.ack(response).await;
            }
        }
        unanswered.push(slow.raw().await);
        assert!(
            unanswered.len() < 20,
            "a queue of versions instead of the latest"
        );
    }
}

#[tokio::test]
async fn after_unsubscribing_nothing_is_said_and_asking_again_is_answered_again() {
    let mut mesh = Mesh::of(&cart(&["10.5.0.1"])).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Endpoint, &[CART]).await;
    assert_eq!(client.settle().await.len(), 1);
    client.subscribe(Kind::Endpoint, &[CART]).await;
    assert_eq!(client.settle().await.len(), 1, "asked again");
    client.unsubscribe(Kind::Endpoint, &[CART]).await;
    client.settle().await;
    assert!(
        mesh.hub.status().clients[0]
            .types
            .iter()
            .all(|it| it.kind == "secret" || it.subscribed == 0)
    );
    mesh.write("mesh.yaml", &cart(&["10.5.0.2"]));
    assert!(client.settle().await.is_empty());
}

#[tokio::test]
async fn an_unknown_type_or_a_foreign_answer_disturbs_nothing() {
    let mesh = Mesh::of(&cart(&["10.5.0.1"])).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client
        .send(DeltaDiscoveryRequest {
            type_url: "type.googleapis.com/nobody.knows.Me".to_owned(),
            resource_names_subscribe: vec!["x".to_owned()],
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    client
        .send(DeltaDiscoveryRequest {
            type_url: Kind::Cluster.type_url().to_owned(),
            response_nonce: "4711".to_owned(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    client.subscribe(Kind::Endpoint, &[CART]).await;
    let told = client.settle().await;
    let endpoints: Vec<_> = told
        .iter()
        .filter(|it| kind(it) == Kind::Endpoint)
        .collect();
    assert_eq!(endpoints.len(), 1);
}

#[tokio::test]
async fn a_client_that_left_is_forgotten() {
    let mesh = Mesh::of(&cart(&["10.5.0.1"])).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Endpoint, &[CART]).await;
    client.next().await;
    assert_eq!(mesh.hub.status().clients.len(), 1);
    drop(client);
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !mesh.hub.status().clients.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("forgotten in time");
    assert_eq!(mesh.hub.status().topics, 0);
}

#[tokio::test]
async fn a_server_that_stops_sends_its_clients_elsewhere() {
    let mesh = Mesh::of(&cart(&["10.5.0.1"])).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Endpoint, &[CART]).await;
    client.next().await;
    mesh.stop.send(true).expect("connections listen");
    let end = client.end().await.expect("an error");
    assert_eq!(end.code(), tonic::Code::Unavailable);
    assert_eq!(end.message(), "the control plane stops; connect again");
}
