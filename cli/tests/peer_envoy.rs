//! Real Envoy, started with the bootstrap that `weir proxy-config bootstrap --envoy` writes, as a
//! client of a running control plane: traffic to a Service works, endpoint changes arrive, nothing
//! is rejected.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_process::command::{LIMIT, execute};
use weir_tests::{
    envoy::{self, Envoy},
    eventually::eventually,
    http,
    netns::{self, NetNs},
    running::Running,
    skip,
};

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);
const SERVICE: &str = "10.4.9.1:80";
const CLUSTER: &str = "cluster.outbound|80||cart.shop.svc.cluster.local";
const ADMIN: &str = "127.0.0.1:15000";
const DEBUG: &str = "127.0.0.1:15014";

#[test]
fn envoy_serves_with_the_bootstrap_that_weir_writes() -> Result<()> {
    let Some(world) = World::new()? else {
        return Ok(());
    };
    for (ip, says) in [("10.5.9.1", "one"), ("10.5.9.2", "two")] {
        world.application(ip, says)?;
    }
    world.endpoints("10.5.9.1")?;
    let _control = world.control_plane()?;
    let envoy = world.envoy()?;

    eventually(PATIENCE, || {
        world.get(SERVICE, "/").ok().filter(|body| body == "one")
    })
    .with_context(|| envoy.log())?;
    let stats = world.get(ADMIN, "/stats?usedonly")?;
    assert!(
        stats.contains(&format!("{CLUSTER}.upstream_rq_200: ")),
        "{stats}"
    );

    world.endpoints("10.5.9.2")?;
    eventually(PATIENCE, || {
        world.get(SERVICE, "/").ok().filter(|body| body == "two")
    })
    .with_context(|| envoy.log())?;

    let rejected = world.get(ADMIN, "/stats?filter=update_rejected")?;
    assert!(
        rejected.contains("listener_manager.lds.update_rejected: 0"),
        "{rejected}"
    );
    let mut counts = rejected
        .lines()
        .filter(|line| line.contains("update_rejected"));
    assert!(counts.all(|line| line.ends_with(": 0")), "{rejected}");
    let status: Value = serde_json::from_str(&world.get(DEBUG, "/debug/syncz")?)?;
    let client = status.pointer("/clients/0").context("Envoy is a client")?;
    assert_eq!(
        client["node"],
        "sidecar~10.5.9.9~client.shop~shop.svc.cluster.local"
    );
    assert_eq!(client["protocol"], "delta");
    let types = client["types"].as_array().context("has types")?;
    let took_all = |of: &Value| of["nacked"] == 0 && of["acked"].as_u64() > Some(0);
    assert!(types.len() == 4 && types.iter().all(took_all), "{client}");
    Ok(())
}

/// A network namespace in which Services' addresses lead to Envoy.
struct World {
    control: PathBuf,
    netns: NetNs,
    dir: tempfile::TempDir,
}

// === impl World ===

impl World {
    /// `None`, after saying so, where the machine lacks something.
    fn new() -> Result<Option<Self>> {
        if !netns::available() || !envoy::available() {
            return Ok(None);
        }
        let Some(control) = skip::built("weir-control") else {
            return Ok(None);
        };
        let world = Self {
            control,
            netns: NetNs::new()?,
            dir: tempfile::tempdir()?,
        };
        fs::create_dir(world.path("manifests"))?;
        world
            .netns
            .ip(&["route", "add", "local", "10.4.0.0/16", "dev", "lo"])?;
        for ip in ["10.5.9.1/32", "10.5.9.2/32"] {
            world.netns.ip(&["addr", "add", ip, "dev", "lo"])?;
        }
        let rule = "-w -t nat -A OUTPUT -d 10.4.0.0/16 -p tcp -j REDIRECT --to-ports 15001";
        execute(
            world.netns.command("iptables").args(rule.split(' ')),
            "",
            LIMIT,
        )?;
        Ok(Some(world))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A server that answers each request with `says`.
    fn application(&self, ip: &str, says: &'static str) -> Result<()> {
        let listener = self.netns.run(|| TcpListener::bind((ip, 8080)))?;
        http::serve(listener, "", says);
        Ok(())
    }

    /// Writes the Service with this one endpoint.
    fn endpoints(&self, ip: &str) -> Result<()> {
        let text = MANIFESTS.replace("ENDPOINT", ip);
        let path = self.path("cart.yaml.new");
        fs::write(&path, text)?;
        Ok(fs::rename(path, self.path("manifests/cart.yaml"))?)
    }

    /// Starts the control plane and waits until it serves.
    fn control_plane(&self) -> Result<Running> {
        let log = self.path("weir-control.log");
        let mut command = self.netns.command(&self.control.to_string_lossy());
        command.arg("--manifests").arg(self.path("manifests"));
        command.arg("--certs-dir").arg(self.path("certs"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let running = Running::start(&mut command)?;
        eventually(PATIENCE, || self.get(DEBUG, "/ready").ok())
            .with_context(|| fs::read_to_string(log).unwrap_or_default())?;
        Ok(running)
    }

    /// Starts Envoy with the bootstrap that `weir` writes.
    fn envoy(&self) -> Result<Envoy> {
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        weir.args([
            "proxy-config",
            "bootstrap",
            "--envoy",
            "client",
            "--namespace",
            "shop",
        ])
        .args([
            "--ip",
            "10.5.9.9",
            "--control-plane",
            "127.0.0.1:15012",
            "--ca-file",
        ])
        .arg(self.path("certs/root-cert.pem"));
        let bootstrap = execute(&mut weir, "", LIMIT)?;
        Envoy::start_by(self.netns.command("envoy"), &bootstrap)
    }

    /// The body of a response with status 200.
    fn get(&self, address: &str, path: &str) -> Result<String> {
        let address: SocketAddr = address.parse()?;
        let answer = self.netns.run(|| http::get(address, path))?;
        ensure!(answer.status == 200, "{}", answer.head);
        Ok(answer.body)
    }
}

const MANIFESTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  clusterIP: 10.4.9.1
  selector: {app: cart}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cart-1, namespace: shop, labels: {kubernetes.io/service-name: cart}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [ENDPOINT], conditions: {ready: true}}]
";
