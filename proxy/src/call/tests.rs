//! Calls against servers on loopback: what is sent, what comes back, what is counted, and that what
//! nobody waits for any more ends.

mod grpc;

use std::{future::Future, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};
use weir_api::xds::json;

use super::*;
use crate::{
    boundary::Boundary, cluster::Healths, convert, secrets::Secrets, singletons::Singletons,
    snapshot::Snapshot, stats::Registry,
};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The clusters of a worker, of which one, `c`, has this host.
fn clusters(host: SocketAddr, fields: &str) -> Rc<Clusters> {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: c, type: STATIC, {fields} \
         load_assignment: {{ cluster_name: c, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ \
         socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ] }} }} ] }}",
        host.ip(),
        host.port()
    );
    let bootstrap = convert::bootstrap(json::read_bootstrap(&text).expect("a bootstrap"));
    let clusters = bootstrap.expect("a bootstrap").clusters;
    let clusters = clusters.iter().map(|it| (it.name.clone(), Arc::clone(it)));
    let snapshot = Snapshot {
        clusters: clusters.collect(),
        ..Snapshot::default()
    };
    let registry: Arc<Registry> = Arc::default();
    Rc::new(Clusters::new(
        Arc::new(snapshot),
        Arc::clone(&registry),
        Arc::<Singletons>::default(),
        Arc::new(Healths::new(&registry)),
        Arc::<Secrets>::default(),
        Boundary::new(&registry),
    ))
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Runs what a worker would.
fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let bounded = async { tokio::time::timeout(PATIENCE, test).await.expect("in time") };
    LocalSet::new().block_on(&runtime, bounded);
}

fn post(path: &str, body: &'static str) -> Call {
    let request = ::http::Request::post(format!("http://auth.example{path}"));
    let request = request.body(Bytes::from(body)).expect("a request");
    Call::new(request, PATIENCE, 1000)
}

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let byte = stream.read_u8().await.expect("more");
        read.push(byte);
    }
    String::from_utf8(read).expect("text")
}

#[test]
fn calls_share_a_connection_and_are_counted() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, "");
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let first = read_until(&mut stream, "hello").await;
            assert_eq!(
                first,
                "POST /check?a=b HTTP/1.1\r\nhost: auth.example\r\ncontent-length: 5\r\n\r\nhello"
            );
            let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\nx-a: 1\r\nx-a: 2\r\n\
                          transfer-encoding: chunked\r\n\r\n2\r\nno\r\n1\r\n!\r\n0\r\nx-t: 3\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.expect("written");
            read_until(&mut stream, "\r\n\r\n").await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .expect("written");
            stream
        };
        let calls = async {
            let call = post("/check?a=b", "hello");
            let answer = call
                .send(Rc::clone(&clusters), "c")
                .await
                .expect("an answer");
            let lines = answer.head.headers.get_all("x-a").iter();
            assert_eq!(lines.collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(
                (answer.head.status.as_u16(), &answer.body[..]),
                (403, &b"no!"[..])
            );
            assert_eq!(answer.trailers.expect("trailers")["x-t"], "3");
            let second = post("/", "").send(Rc::clone(&clusters), "c").await;
            assert_eq!(second.expect("an answer").head.status, 200);
        };
        let (_stream, ()) = tokio::join!(server, calls);
        let stats = &clusters.get("c").expect("the cluster").stats;
        assert_eq!(stats.upstream_cx_total.get(), 1);
        assert_eq!(stats.upstream_rq_total.get(), 2);
        assert_eq!(stats.upstream_rq_completed.get(), 2);
        assert_eq!(stats.upstream_rq_active.get(), 0);
    });
}

#[test]
fn a_response_that_is_too_large_is_not_taken() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, "");
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let head = b"HTTP/1.1 200 OK\r\n\r\n";
            let body = [b'x'; 1001];
            stream.write_all(head).await.expect("written");
            stream.write_all(&body).await.expect("written");
        };
        let call = post("/", "").send(Rc::clone(&clusters), "c");
        let ((), answered) = tokio::join!(server, call);
        assert_eq!(answered.err(), Some(CallError::TooLarge));
    });
}

#[test]
fn what_fails_says_why() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, "");
        let none = post("/", "").send(Rc::clone(&clusters), "other").await;
        assert_eq!(none.err(), Some(CallError::NoCluster));
        let server = async {
            for answer in [
                "",
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
                "nonsense\r\n\r\n",
            ] {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                read_until(&mut stream, "\r\n\r\n").await;
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
            drop(listener);
        };
        let calls = async {
            for reason in [
                Reason::UpstreamClosed,
                Reason::UpstreamClosed,
                Reason::UpstreamProtocolError,
            ] {
                let answered = post("/", "").send(Rc::clone(&clusters), "c").await;
                assert_eq!(answered.err(), Some(CallError::Failed(reason)));
            }
        };
        tokio::join!(server, calls);
        let refused = post("/", "").send(Rc::clone(&clusters), "c").await;
        assert_eq!(
            refused.err(),
            Some(CallError::Failed(Reason::ConnectFailed))
        );
        let stats = &clusters.get("c").expect("the cluster").stats;
        assert_eq!(stats.upstream_rq_pending_failure_eject.get(), 1);
        assert_eq!(stats.upstream_cx_protocol_error.get(), 1);
    });
}

#[test]
fn a_call_ends_with_its_deadline_and_with_whoever_waits_for_it() {
    on_a_worker(async {
        let (listener, address) = listen().await;
        let clusters = clusters(address, "");
        let mut call = post("/", "");
        call.timeout = Duration::from_millis(10);
        let late = call.send(Rc::clone(&clusters), "c").await;
        assert_eq!(late.err(), Some(CallError::Timeout));
        let stats = Arc::clone(&clusters.get("c").expect("the cluster").stats);
        assert_eq!(stats.upstream_rq_timeout.get(), 1);
        let (mut first, _) = listener.accept().await.expect("a connection");
        let mut all = Vec::new();
        first.read_to_end(&mut all).await.expect("closed");
        let given_up = post("/", "").send(Rc::clone(&clusters), "c");
        let server = async {
            let (mut second, _) = listener.accept().await.expect("a connection");
            read_until(&mut second, "\r\n\r\n").await;
            second
        };
        let mut second = tokio::select! {
            _ = given_up => panic!("nobody has answered"),
            second = server => second,
        };
        second.read_to_end(&mut all).await.expect("closed");
        assert_eq!(stats.upstream_rq_tx_reset.get(), 1);
        assert_eq!(stats.upstream_rq_active.get(), 0);
    });
}

#[test]
fn a_circuit_breaker_holds_for_calls() {
    on_a_worker(async {
        let (_listener, address) = listen().await;
        let clusters = clusters(
            address,
            "circuit_breakers: { thresholds: [ { max_requests: 0 } ] },",
        );
        let refused = post("/", "").send(Rc::clone(&clusters), "c").await;
        assert_eq!(refused.err(), Some(CallError::Failed(Reason::Overflow)));
    });
}
