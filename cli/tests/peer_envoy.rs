//! Real Envoy, started with the bootstrap that `weir proxy-config bootstrap --envoy` writes, as a
//! client of a running control plane: traffic to a Service works, endpoint changes arrive, nothing
//! is rejected.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use weir_tests::{
    eventually::eventually,
    netns::{self, NetNs},
    skip::{Need, skip},
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
    let _envoy = world.envoy()?;

    eventually(PATIENCE, || {
        world.get(SERVICE, "/").ok().filter(|body| body == "one")
    })
    .with_context(|| world.log("envoy"))?;
    let stats = world.get(ADMIN, "/stats?usedonly")?;
    assert!(
        stats.contains(&format!("{CLUSTER}.upstream_rq_200: ")),
        "{stats}"
    );

    world.endpoints("10.5.9.2")?;
    eventually(PATIENCE, || {
        world.get(SERVICE, "/").ok().filter(|body| body == "two")
    })
    .with_context(|| world.log("envoy"))?;

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
    netns: NetNs,
    dir: tempfile::TempDir,
}

/// A program that ends with the test.
struct Running(Child);

// === impl World ===

impl World {
    /// `None`, after saying so, where the machine lacks something.
    fn new() -> Result<Option<Self>> {
        if !netns::available() {
            return Ok(None);
        }
        if Command::new("envoy").arg("--version").output().is_err() {
            skip(Need::Peers, "envoy is not installed (make setup)");
            return Ok(None);
        }
        if !beside("weir-control").is_file() {
            // Not something a machine lacks: `cargo test --workspace` builds it.
            let _ = writeln!(std::io::stderr(), "SKIP: weir-control is not built");
            return Ok(None);
        }
        let world = Self {
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
        let status = world
            .netns
            .command("iptables")
            .args(rule.split(' '))
            .status()?;
        ensure!(status.success(), "iptables {rule}");
        Ok(Some(world))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// A server that answers each request with `says`.
    fn application(&self, ip: &str, says: &'static str) -> Result<()> {
        let listener = self.netns.run(|| TcpListener::bind((ip, 8080)))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream, says));
            }
        });
        Ok(())
    }

    /// Writes the Service with this one endpoint.
    fn endpoints(&self, ip: &str) -> Result<()> {
        let text = MANIFESTS.replace("ENDPOINT", ip);
        let path = self.path("cart.yaml.new");
        fs::write(&path, text)?;
        Ok(fs::rename(path, self.path("manifests/cart.yaml"))?)
    }

    fn start(&self, name: &str, command: &mut Command) -> Result<Running> {
        let log = File::create(self.path(&format!("{name}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Running(command.spawn().with_context(|| name.to_owned())?))
    }

    /// Starts the control plane and waits until it serves.
    fn control_plane(&self) -> Result<Running> {
        let program = beside("weir-control");
        let mut command = self.netns.command(&program.to_string_lossy());
        command.arg("--manifests").arg(self.path("manifests"));
        command.arg("--certs-dir").arg(self.path("certs"));
        let running = self.start("weir-control", &mut command)?;
        eventually(PATIENCE, || self.get(DEBUG, "/ready").ok())
            .with_context(|| self.log("weir-control"))?;
        Ok(running)
    }

    /// Starts Envoy with the bootstrap that `weir` writes.
    fn envoy(&self) -> Result<Running> {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args([
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
            .arg(self.path("certs/root-cert.pem"))
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{stderr}");
        let bootstrap = self.path("bootstrap.yaml");
        fs::write(&bootstrap, &output.stdout)?;
        let mut command = self.netns.command("envoy");
        command.args([
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "-l",
            "warning",
            "-c",
        ]);
        command.arg(bootstrap);
        self.start("envoy", &mut command)
    }

    /// The body of a response with status 200.
    fn get(&self, address: &str, path: &str) -> Result<String> {
        let address: SocketAddr = address.parse()?;
        self.netns.run(|| {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            )?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            let (head, body) = text.split_once("\r\n\r\n").context("no HTTP")?;
            if head.split(' ').nth(1) != Some("200") {
                bail!("{head}");
            }
            Ok(body.to_owned())
        })
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a program is that was built with `weir`.
fn beside(program: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_weir")).with_file_name(program)
}

/// Answers requests until the client has gone.
fn serve(mut stream: TcpStream, says: &str) {
    let mut buffer = [0; 4096];
    // Each request of these tests comes in one piece.
    while matches!(stream.read(&mut buffer), Ok(read) if read > 0) {
        let length = says.len();
        if write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{says}"
        )
        .is_err()
        {
            return;
        }
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
