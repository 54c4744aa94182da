//! Real Envoy as a client that subscribes to everything: it takes all of it and follows changes.
//!
//! Envoy binds the capture ports, so it runs in a network namespace of its own and reaches the
//! server and is reached over Unix sockets.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tokio::{net::UnixListener, sync::watch};
use weir_discovery::xds::{AccessLog, AdsServer, LoadBalancer, MeshConfig, serve_connection};
use weir_tests::{
    envoy::{self, Envoy},
    http, netns,
};

use crate::mesh::{Mesh, service};

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
    if !envoy::available() || !netns::available() {
        return;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut mesh = Mesh::unsynced().await;
    mesh.write("cart.yaml", &service("cart", "10.4.9.1", &["10.5.9.1"]));
    let cases = ["protocols", "headless", "readiness", "service-entries"];
    for (number, case) in cases.iter().enumerate() {
        let path = golden.join(format!("{case}.in.yaml"));
        let text = fs::read_to_string(path).expect("golden");
        // Nobody answers there, and Envoy would wait for that.
        let documents = text.split("---\n");
        let documents = documents.filter(|it| !it.contains("resolution: DNS"));
        let text = documents.collect::<Vec<_>>().join("---\n");
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
    let envoy = start(sockets.path(), api_type);
    let admin = sockets.path().join("admin");

    until(&envoy, &admin, "/clusters", |text| {
        text.contains("10.5.9.1:8080::health_flags::healthy")
    })
    .await;
    let listeners = until(&envoy, &admin, "/listeners", |text| {
        text.contains("virtualInbound")
    })
    .await;
    for name in [
        "outbound|10.4.9.1:80",
        "virtualOutbound",
        "outbound|10.5.0.1:5432",
        "outbound|0.0.0.0:443",
        "outbound|240.0.0.3:9000",
    ] {
        assert!(listeners.contains(name), "{name} in {listeners}");
    }
    mesh.write("cart.yaml", &service("cart", "10.4.9.1", &["10.5.9.2"]));
    let clusters = until(&envoy, &admin, "/clusters", |text| {
        text.contains("10.5.9.2:8080")
    })
    .await;
    let cart = "outbound|80||cart.shop.svc.cluster.local::10.5.9.1";
    assert!(!clusters.contains(cart), "{clusters}");

    // The hint of a port changes: a new cluster, new filter chains, the same endpoints.
    let hinted = service("cart", "10.4.9.1", &["10.5.9.2"]).replace("name: http", "name: grpc");
    mesh.write("cart.yaml", &hinted);
    until(
        &envoy,
        &admin,
        "/config_dump?resource=dynamic_active_clusters",
        |text| text.contains("\"protocol\": \"http2\"") && text.contains("cart.shop.svc"),
    )
    .await;
    // A service without endpoints is left to its own address.
    let empty = "outbound|80||empty.readiness.svc.cluster.local::10.4.2.3:80";
    until(&envoy, &admin, "/clusters", |text| text.contains(empty)).await;
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
        until(&envoy, &admin, page, |text| text.contains(says)).await;
    }
    mesh.write("cart.yaml", "");
    until(&envoy, &admin, "/listeners", |text| {
        !text.contains("10.4.9.1")
    })
    .await;

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
async fn until(envoy: &Envoy, admin: &Path, page: &str, says: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = get(admin, page).unwrap_or_default();
        if says(&text) {
            return text;
        }
        assert!(
            Instant::now() < deadline,
            "{page} says\n{text}\nthe log says\n{}",
            envoy.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn get(admin: &Path, page: &str) -> Option<String> {
    let stream = UnixStream::connect(admin).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(http::get_over(stream, page).ok()?.body)
}

/// Starts Envoy, with its sockets in that directory.
fn start(directory: &Path, api_type: &str) -> Envoy {
    let socket = |name: &str| directory.join(name).display().to_string();
    let bootstrap = BOOTSTRAP
        .replace("API_TYPE", api_type)
        .replace("XDS", &socket("xds"))
        .replace("ADMIN", &socket("admin"));
    let mut command = Command::new("unshare");
    command.args(["--net", "--kill-child", "envoy"]);
    Envoy::start_by(command, &bootstrap).expect("envoy starts")
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
