//! A real sidecar, in a pod of its own: how large it is after it talked to some services.
//!
//! The pod is a network namespace whose connections `weir-agent capture` redirects. Another namespace
//! has the addresses of all endpoints. The control plane serves without TLS on loopback only, so a
//! forwarder in the pod hands the sidecar's stream over.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use weir_api::identity::{PROXY_GID, PROXY_UID};
use weir_process::command::{LIMIT, execute};
use weir_tests::{netns::NetNs, running::Running};

use crate::{cluster, process};

/// Where the forwarder listens, inside the pod.
const FORWARDER: &str = "127.0.0.1:15010";
/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests to each service, one connection each: enough for every worker's pool and statistics.
const REQUESTS: usize = 5;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The sidecar, ended when dropped.
struct Sidecar(Running);

/// Resident memory of a sidecar that talked to the first services of the cluster, bytes.
pub(crate) fn measure(agent: &Path, control: SocketAddr, services: u32) -> Result<u64> {
    let (pod, node) = (NetNs::new()?, NetNs::new()?);
    pod.link("eth0", &["10.77.0.1/24"], &node, &["10.77.0.2/24"])?;
    pod.ip(&["route", "add", "default", "via", "10.77.0.2"])?;
    node.ip(&["route", "add", "local", "10.128.0.0/9", "dev", "lo"])?;
    let backend = node
        .run(|| TcpListener::bind("0.0.0.0:8080"))
        .context("backend")?;
    thread::spawn(move || serve(&backend));
    let forwarder = pod
        .run(|| TcpListener::bind(FORWARDER))
        .context("forwarder")?;
    thread::spawn(move || forward(&forwarder, control));
    pod.run(|| execute(Command::new(agent).arg("capture"), "", LIMIT))?;

    let sidecar = pod.run(|| Sidecar::start(agent))?;
    for service in 0..services {
        for _ in 0..REQUESTS {
            pod.run(|| call(cluster::service_address(service)))
                .with_context(|| format!("service {service}"))?;
        }
    }
    let clusters = pod.run(|| ask("127.0.0.1:15000", "/clusters"))?;
    for service in 0..services {
        let name = format!(
            "||{}.{}.svc",
            cluster::name(service),
            cluster::namespace(service)
        );
        ensure!(
            clusters.contains(&name),
            "the sidecar does not know service {service}"
        );
    }
    Ok(process::memory(sidecar.0.id())?.now)
}

/// Calls a service until it answers. A first connection whose listener does not come in time is
/// passed through to the service's address, which nobody has here.
fn call(address: Ipv4Addr) -> Result<()> {
    let began = Instant::now();
    loop {
        let answer = ask(&format!("{address}:80"), "/");
        if answer.as_ref().is_ok_and(|answer| answer.ends_with("ok")) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "answered {answer:?}");
    }
}

fn ask(address: &str, path: &str) -> Result<String> {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > PATIENCE => bail!("{address}: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Answers each request of each connection.
fn serve(listener: &TcpListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        thread::spawn(move || {
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                head.extend_from_slice(&buffer[..read]);
                while let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    head.drain(..end + 4);
                    if stream.write_all(RESPONSE).is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Hands connections over to the control plane.
fn forward(listener: &TcpListener, control: SocketAddr) {
    while let Ok((inner, _)) = listener.accept() {
        let Ok(outer) = TcpStream::connect(control) else {
            continue;
        };
        for (from, to) in [(&inner, &outer), (&outer, &inner)] {
            let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
                continue;
            };
            thread::spawn(move || {
                // Either end may go at any time.
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    }
}

// === impl Sidecar ===

impl Sidecar {
    /// Starts it and waits until its listeners are bound and the redirect is proven.
    fn start(agent: &Path) -> Result<Self> {
        let mut command = Command::new(agent);
        command
            .args([
                "run",
                "--control-plane",
                FORWARDER,
                "--control-plane-plaintext",
            ])
            .args([
                "--pod-name",
                "client-0",
                "--pod-namespace",
                "bench",
                "--pod-ip",
                "10.77.0.1",
            ])
            .args(["--concurrency", "2"])
            .uid(PROXY_UID)
            .gid(PROXY_GID)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let sidecar = Self(Running::start(&mut command)?);
        let began = Instant::now();
        while !ask("127.0.0.1:15021", "/healthz/ready")?.starts_with("HTTP/1.1 200") {
            ensure!(began.elapsed() < PATIENCE, "the sidecar does not get ready");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(sidecar)
    }
}
