//! Programs under measurement.

use std::{fs, io::Write, net::SocketAddr, path::Path, process::Stdio, time::Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::api::Api;

/// The control plane, as a process of its own.
#[derive(Debug)]
pub(crate) struct Control {
    child: Child,
    pub(crate) started: Instant,
    bound: Bound,
    _directory: tempfile::TempDir,
}

/// Where it listens.
#[derive(Debug, Deserialize)]
struct Bound {
    xds_plaintext: String,
    debug: String,
}

/// Resident memory of a process, bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) now: u64,
    /// At most so far.
    pub(crate) peak: u64,
}

// === impl Control ===

impl Control {
    /// Starts it against that API server.
    pub(crate) async fn start(program: &Path, api: &Api) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let kubeconfig = directory.path().join("kubeconfig");
        fs::write(&kubeconfig, api.kubeconfig().to_string())?;
        let log = fs::File::create(directory.path().join("log"))?;
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(&kubeconfig);
        for port in [
            "xds-plaintext-addr",
            "xds-addr",
            "debug-addr",
            "webhook-addr",
        ] {
            command.arg(format!("--{port}=127.0.0.1:0"));
        }
        command
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| program.display().to_string())?;
        let out = child.stdout.take().context("standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).await?;
        ensure!(
            !line.is_empty(),
            "{} did not start: {}",
            program.display(),
            fs::read_to_string(directory.path().join("log")).unwrap_or_default()
        );
        let bound = serde_json::from_str(&line).context("what it prints")?;
        Ok(Self {
            child,
            started,
            bound,
            _directory: directory,
        })
    }

    /// Where xDS is served without TLS.
    pub(crate) fn xds(&self) -> String {
        format!("http://{}", self.bound.xds_plaintext)
    }

    pub(crate) fn xds_address(&self) -> Result<SocketAddr> {
        Ok(self.bound.xds_plaintext.parse()?)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        memory(self.child.id().context("the control plane ended")?)
    }

    /// A value of its metrics page.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.get("/metrics").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no metric {name}"))?.parse()?)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let address = self.bound.debug.clone();
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address)?;
            write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
            Ok(std::io::read_to_string(stream)?)
        })
        .await?
    }
}

/// Resident memory of a process.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let text = line.with_context(|| format!("{name} in /proc/{pid}/status"))?;
        let kib: u64 = text.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    };
    Ok(Memory {
        now: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}
