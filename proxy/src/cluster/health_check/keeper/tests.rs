//! Hosts that misbehave, and many of them.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    cluster::fixture,
    config::{
        LoadAssignment,
        cluster::ClusterDiscovery,
        endpoint::{Endpoint, LocalityEndpoints},
    },
    snapshot::Snapshot,
};

/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);
const OFTEN: &str = "timeout: 50s, interval: 0.01s, no_traffic_interval: 0.01s, unhealthy_threshold: 1, healthy_threshold: 1";
const ONCE: &str = "timeout: 50s, interval: 3600s, no_traffic_interval: 3600s, unhealthy_threshold: 1, healthy_threshold: 1";

/// A cluster whose hosts are being checked.
struct Checked {
    health: Arc<ClusterHealth>,
    generation: u64,
    task: JoinHandle<()>,
}

impl Checked {
    fn start(check: &str, places: usize) -> Self {
        let mut config = fixture::config(&format!(
            "http2_protocol_options: {{}}, health_checks: [{{ {check} }}]"
        ));
        let own = Arc::get_mut(&mut config).expect("nobody else has it");
        own.discovery = ClusterDiscovery::Eds("c".to_owned());
        own.host_changes.ignore_health_on_removal = true;
        let registry = Arc::default();
        let healths = Arc::new(Healths::new(&registry));
        let health = healths.get(&config, &Snapshot::default());
        let boundary = Boundary::new(&registry);
        let (singletons, secrets) = (Arc::default(), Arc::new(Secrets::default()));
        let surroundings = Surroundings {
            places: Arc::new(Semaphore::new(places)),
            ..Surroundings::new(&healths, &registry, &singletons, &secrets, &boundary)
        };
        let task = tokio::spawn(keep(Arc::clone(&health), surroundings));
        Self {
            health,
            generation: 0,
            task,
        }
    }

    fn assign(&mut self, hosts: impl IntoIterator<Item = SocketAddr>) {
        let locality = LocalityEndpoints {
            endpoints: hosts.into_iter().map(Endpoint::at).map(Arc::new).collect(),
            ..LocalityEndpoints::default()
        };
        let all = LoadAssignment {
            localities: vec![locality],
            ..LoadAssignment::default()
        };
        self.generation += 1;
        self.health.assign(self.generation, &Arc::new(all));
    }

    /// Attempts, successes, failures and failures of the network.
    fn counts(&self) -> [u64; 4] {
        let (_, stats) = self.health.check().expect("a check");
        [
            &stats.attempt,
            &stats.success,
            &stats.failure,
            &stats.network_failure,
        ]
        .map(crate::stats::Counter::get)
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let waits = async {
            while !is_so(self) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waits).await.expect("in time");
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A host that says this to all who connect, over and over if it never ends, and listens no more.
async fn saying(words: Vec<u8>, endlessly: bool) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let words = words.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                while stream.write_all(&words).await.is_ok() && endlessly {}
                // The other side ends it.
                let _ = stream.read(&mut [0; 1024]).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_host_that_answers_without_end_fails_its_check() {
    let web = "http_health_check: { path: /, response_buffer_size: 0, receive: [{ text: '00' }] }";
    let raw = "tcp_health_check: { send: { text: '0a' }, receive: [{ text: '00' }] }";
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let long = [head.as_slice(), &[b'x'; 65536]].concat();
    let heads = [
        b"HTTP/1.1 200 OK\r\n".as_slice(),
        &b"a: b\r\n".repeat(10000),
    ]
    .concat();
    for (check, words) in [(web, long.clone()), (raw, long), (web, heads)] {
        let mut checked = Checked::start(&format!("{ONCE}, {check}"), 4);
        checked.assign([saying(words, true).await]);
        checked.until(|it| it.counts()[2] > 0).await;
        assert_eq!(checked.counts(), [1, 0, 1, 1], "{check}");
    }
}

#[tokio::test]
async fn garbage_and_halves_of_frames_fail_their_check() {
    let two = "http_health_check: { path: /, codec_client_type: HTTP2 }";
    let grpc = "grpc_health_check: {}";
    let web = "http_health_check: { path: / }";
    // SETTINGS; then a frame of 16 MiB, HEADERS that no HPACK is, DATA on a stream that is not there.
    let settings = b"\0\0\0\x04\0\0\0\0\0".as_slice();
    for (check, words) in [
        (two, b"\xff\xff\xff\x01\x04\0\0\0\x01".as_slice()),
        (two, b"\0\0\x02\x01\x05\0\0\0\x01\xff\xff"),
        (two, b"\0\0\x01\0\x01\0\0\0\x07x"),
        (grpc, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (grpc, b"\0\0\x02\x01\x05\0\0\0\x01\xff\xff"),
        (web, b"\x16\x03\x01\x02\0\x01\0"),
        (web, b"HTTP/1.1 99999 OK\r\n\r\n"),
        (web, b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
        (
            web,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ),
    ] {
        let is_http2 = !matches!(check, it if it == web);
        let words = match is_http2 {
            true => [settings, words].concat(),
            false => words.to_vec(),
        };
        let mut checked = Checked::start(&format!("{ONCE}, {check}"), 4);
        checked.assign([saying(words, false).await]);
        checked.until(|it| it.counts()[2] > 0).await;
        assert_eq!(checked.counts(), [1, 0, 1, 1], "{check}");
    }
}

#[tokio::test]
async fn no_more_checks_are_under_way_than_there_are_places() {
    let mut checked = Checked::start(
        &format!("{ONCE}, tcp_health_check: {{ receive: [{{ text: '00' }}] }}"),
        2,
    );
    let (listener, address) = listen().await;
    let hosts = (1..=6).map(|last| SocketAddr::from(([127, 0, 0, last], address.port())));
    // The others of this port refuse; those of this address wait for their byte.
    drop(listener);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    let listener = listener.expect("the port");
    checked.assign(hosts);
    let mut open: Vec<TcpStream> = Vec::new();
    for _ in 0..2 {
        open.push(listener.accept().await.expect("a connection").0);
    }
    assert_eq!(checked.counts()[0], 2);
    for done in 1..=6 {
        let mut first = open.remove(0);
        first.write_all(&[0]).await.expect("written");
        checked.until(|it| it.counts()[1] == done).await;
        if done <= 4 {
            open.push(listener.accept().await.expect("a connection").0);
        }
        assert!(checked.counts()[0] <= done + 2);
    }
    checked.until(|it| it.health.is_warm()).await;
}

#[tokio::test]
async fn thousands_of_hosts_are_checked() {
    let mut checked = Checked::start(&format!("{ONCE}, tcp_health_check: {{}}"), AT_A_TIME);
    let (listener, good) = listen().await;
    let (gone, bad) = listen().await;
    drop(gone);
    let of = |address: SocketAddr, host: u16| {
        let [high, low] = host.to_be_bytes();
        SocketAddr::from(([127, 1, high, low], address.port()))
    };
    // All of 127/8 is this machine, but the listener is of one address.
    drop(listener);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, good.port())).await;
    let listener = listener.expect("the port");
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let hosts = (0..2000)
        .map(|host| of(good, host))
        .chain((0..1000).map(|host| of(bad, host)));
    checked.assign(hosts);
    checked.until(|it| it.health.is_warm()).await;
    assert_eq!(checked.counts(), [3000, 2000, 1000, 1000]);
    let (_, stats) = checked.health.check().expect("a check");
    checked.until(|_| stats.healthy.get() == 2000).await;
}

#[tokio::test]
async fn hosts_that_come_and_go_are_checked_while_they_are_there() {
    let mut checked = Checked::start(&format!("{OFTEN}, http_health_check: {{ path: / }}"), 4);
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let mut hosts = Vec::new();
    for _ in 0..3 {
        hosts.push(saying(answer.to_vec(), false).await);
    }
    for round in 0..60 {
        let here = (0..3)
            .filter(|host| (round >> host) & 1 == 0)
            .map(|host| hosts[host]);
        checked.assign(here);
        tokio::task::yield_now().await;
    }
    checked.assign([hosts[0]]);
    let succeeded = checked.counts()[1];
    checked.until(|it| it.counts()[1] > succeeded + 5).await;
    let targets = checked.health.check_targets();
    assert_eq!(
        targets.iter().map(|target| target.host).collect::<Vec<_>>(),
        hosts[..1]
    );
    assert_eq!(checked.counts()[2], 0, "none has failed");
    checked.assign([]);
    checked
        .until(|it| {
            it.health
                .check()
                .is_some_and(|(_, stats)| stats.healthy.get() == 0)
        })
        .await;
}
