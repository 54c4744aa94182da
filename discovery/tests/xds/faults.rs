//! Clients that may not, ask for too much, send nonsense or do not listen: each is named, and
//! nobody else notices.

use std::{sync::Arc, time::Duration};

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Endpoint};
use weir_api::xds::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use weir_discovery::xds::{AuthError, Authenticator, Fault, Hub, Identity, Kind, Limits, Peer};

use crate::{
    ads::{CART, NODE},
    delta::{Delta, names},
    mesh::{Mesh, service},
};

/// Knows one token, of the pod that [`NODE`] is.
#[derive(Debug)]
struct OneToken;

#[tonic::async_trait]
impl Authenticator for OneToken {
    async fn authenticate(&self, token: &str, _: Peer) -> Result<Identity, AuthError> {
        match token {
            "good" => Ok(Identity {
                namespace: "shop".to_owned(),
                service_account: "client".to_owned(),
                pod: Some("client".to_owned()),
            }),
            "later" => Err(AuthError::Unavailable("no API server".to_owned())),
            _ => Err(AuthError::Refused("expired".to_owned())),
        }
    }
}

fn node(id: &str) -> Node {
    Node {
        id: id.to_owned(),
        ..Node::default()
    }
}

/// Waits for what a hub is bound to come to.
async fn until(what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
    reached.expect("in time");
}

fn times(hub: &Hub, fault: Fault) -> u64 {
    hub.metrics()
        .counts()
        .faults
        .get(&fault)
        .copied()
        .unwrap_or(0)
}

#[tokio::test]
async fn who_has_no_good_token_gets_no_stream_and_is_told_why() {
    let mut mesh = Mesh::serving(|server| server.authenticated(Arc::new(OneToken))).await;
    mesh.write("mesh.yaml", &service("cart", "10.4.0.1", &["10.5.0.1"]));
    for (token, code, reason) in [
        (None, Code::Unauthenticated, "no authorization header"),
        (
            Some("bad"),
            Code::Unauthenticated,
            "the token is refused: expired",
        ),
        (Some("later"), Code::Unavailable, "cannot be checked now"),
    ] {
        let refused = Delta::open(&mesh.address, node(NODE), token).await;
        let status = refused.err().expect("no stream");
        assert_eq!(status.code(), code);
        assert!(status.message().contains(reason), "{status}");
    }
    assert_eq!(times(&mesh.hub, Fault::Unauthenticated), 3);
    assert!(mesh.hub.status().clients.is_empty());

    let mut client = Delta::open(&mesh.address, node(NODE), Some("good")).await;
    let client = client.as_mut().expect("a stream");
    client.subscribe(Kind::Endpoint, &[CART]).await;
    assert_eq!(names(&client.next().await), (vec![CART], vec![]));
    let status = &mesh.hub.status().clients[0];
    assert_eq!(status.identity.as_deref(), Some("shop/client"));
    assert!(status.peer.is_some());
}

#[tokio::test]
async fn a_token_of_one_pod_is_no_good_for_the_node_of_another() {
    let mesh = Mesh::serving(|server| server.authenticated(Arc::new(OneToken))).await;
    for id in [
        "sidecar~10.5.9.9~other.shop~shop.svc.cluster.local",
        "sidecar~10.5.9.9~client.bank~bank.svc.cluster.local",
        "",
    ] {
        let mut client = Delta::open(&mesh.address, node(id), Some("good")).await;
        let end = client.as_mut().expect("a stream").end().await;
        assert_eq!(
            end.expect("an error").code(),
            Code::PermissionDenied,
            "{id}"
        );
    }
    assert_eq!(times(&mesh.hub, Fault::ForeignNode), 3);
}

#[tokio::test]
async fn a_client_that_wants_too_many_names_is_told_how_many_it_may_have() {
    let limits = Limits {
        names: 2,
        ..Limits::default()
    };
    let mesh = Mesh::serving(|server| server.with_limits(limits)).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Cluster, &["a", "b", "c"]).await;
    let end = client.end().await.expect("an error");
    assert_eq!(end.code(), Code::ResourceExhausted);
    assert_eq!(end.message(), "3 names; one stream may subscribe to 2");
    until(|| times(&mesh.hub, Fault::TooManyNames) == 1).await;
}

#[tokio::test]
async fn a_request_that_is_too_large_ends_its_stream_and_is_counted() {
    let limits = Limits {
        request_size: 1000,
        ..Limits::default()
    };
    let mesh = Mesh::serving(|server| server.with_limits(limits)).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Cluster, &[&"x".repeat(2000)]).await;
    assert_eq!(
        client.end().await.expect("an error").code(),
        Code::OutOfRange
    );
    assert_eq!(times(&mesh.hub, Fault::Unreadable), 1);
}

#[tokio::test]
async fn unknown_types_and_wrong_nonces_are_named_in_the_status_of_the_client() {
    let mesh = Mesh::unsynced().await;
    let client = Delta::connect(&mesh.address, NODE).await;
    for (type_url, response_nonce) in [
        ("type.googleapis.com/nobody.knows.Me", ""),
        ("type.googleapis.com/nobody.knows.Me", ""),
        (Kind::Cluster.type_url(), "4711"),
    ] {
        let request = DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            response_nonce: response_nonce.to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        client.send(request).await;
    }
    until(|| times(&mesh.hub, Fault::WrongNonce) == 1).await;
    let status = mesh.hub.status();
    let faults: Vec<_> = status.clients[0]
        .faults
        .iter()
        .map(|fault| (fault.what, fault.times, fault.last.as_str()))
        .collect();
    let expected = [
        ("unknown_type", 2, "type.googleapis.com/nobody.knows.Me"),
        ("wrong_nonce", 1, "cluster: \"4711\""),
    ];
    assert_eq!(faults, expected);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_the_others_are_served_meanwhile() {
    let limits = Limits {
        concurrent_pushes: 1,
        write_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let mut mesh = Mesh::serving(|server| server.with_limits(limits)).await;
    let services: String = (0..400)
        .map(|n| {
            service(
                &format!("s{n}"),
                &format!("10.4.{}.{}", n / 200, n % 200),
                &[],
            )
        })
        .collect();
    mesh.write("mesh.yaml", &services);

    // Its connection takes 64 KiB, the server's buffers take a response or two; it asks for four.
    let endpoint = Endpoint::from_shared(mesh.address.clone()).expect("address");
    let endpoint = endpoint.initial_stream_window_size(1 << 16);
    let mut deaf =
        AggregatedDiscoveryServiceClient::new(endpoint.connect().await.expect("connect"));
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    for kind in [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route] {
        let request = DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: vec!["*".to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(request).await.expect("open");
    }
    let stream = deaf.delta_aggregated_resources(ReceiverStream::new(receiver));
    let mut stream = stream.await.expect("stream").into_inner();
    until(|| {
        mesh.hub
            .metrics()
            .counts()
            .kinds
            .contains_key(&Kind::Listener)
    })
    .await;

    // There is one turn, and the deaf client has it.
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client
        .subscribe(Kind::Endpoint, &["outbound|80||s1.shop.svc.cluster.local"])
        .await;
    client.next().await;
    assert_eq!(times(&mesh.hub, Fault::TakesNothing), 0);
    until(|| times(&mesh.hub, Fault::TakesNothing) == 1).await;
    until(|| mesh.hub.sizes().clients == 1).await;
    while let Ok(Some(_)) = stream.message().await {}
    let counts = mesh.hub.metrics().counts();
    assert_eq!((counts.waiting, counts.pushing), (0, 0));
}

#[tokio::test]
async fn an_old_connection_ends_as_agreed_and_its_client_misses_nothing() {
    let limits = Limits {
        connection_age: Duration::from_secs(2),
        ..Limits::default()
    };
    let mut mesh = Mesh::serving(|server| server.with_limits(limits)).await;
    mesh.write("mesh.yaml", &service("cart", "10.4.0.1", &["10.5.0.1"]));
    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.subscribe(Kind::Endpoint, &[CART]).await;
    let have = crate::delta::versions(&client.next().await);
    assert!(client.end().await.is_none(), "no error");
    assert_eq!(mesh.hub.metrics().counts().connections_aged, 1);

    let mut client = Delta::connect(&mesh.address, NODE).await;
    client.resume(Kind::Endpoint, &[CART], have).await;
    assert!(client.settle().await.is_empty());
}

#[tokio::test]
async fn secrets_are_certificates_to_trust_and_nothing_else() {
    let mesh = Mesh::of(&service("cart", "10.4.0.1", &[])).await;
    let mut client = Delta::connect(&mesh.address, NODE).await;
    let trust = |pem: &str| {
        mesh.hub
            .set_trusted([("ROOTCA".to_owned(), pem.into())].into());
    };
    trust("first");
    client.subscribe(Kind::Secret, &["ROOTCA", "default"]).await;
    let told = [client.next().await, client.next().await];
    assert_eq!(names(&told[0]), (vec!["ROOTCA"], vec![]));
    assert_eq!(names(&told[1]), (vec![], vec!["default"]));
    trust("first");
    assert!(client.settle().await.is_empty());
    trust("second");
    assert_eq!(names(&client.next().await), (vec!["ROOTCA"], vec![]));
}
