//! The program as a process beside a real API server.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_tests::{api_server::ApiServer, eventually::eventually};

/// Far longer than anything takes; it only ends a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Namespace of the control plane.
pub(crate) const OWN: &str = "weir-system";

/// A running control plane.
pub(crate) struct Control {
    child: Child,
    bound: Value,
    log: PathBuf,
}

// === impl Control ===

impl Control {
    /// Starts one with these flags beside those that every test wants.
    pub(crate) fn start(api: &ApiServer, name: &str, flags: &[&str]) -> Result<Self> {
        let log = api.dir().join(format!("{name}.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-control"));
        command.arg("--kubeconfig").arg(api.kubeconfig());
        command.args(["--pod-name", name]);
        for flag in [
            "--xds-plaintext-addr",
            "--xds-addr",
            "--debug-addr",
            "--webhook-addr",
        ] {
            command.args([flag, "127.0.0.1:0"]);
        }
        let mut child = command
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("standard output")?;
        BufReader::new(out).read_line(&mut line)?;
        let said = fs::read_to_string(&log)?;
        let bound = serde_json::from_str(&line).with_context(|| said)?;
        Ok(Self { child, bound, log })
    }

    fn address(&self, of: &str) -> Result<SocketAddr> {
        let address = self.bound[of].as_str().context("an address")?;
        Ok(address.parse()?)
    }

    /// Where the API server calls the webhook.
    pub(crate) fn webhook_url(&self) -> Result<String> {
        Ok(format!("https://{}/inject", self.address("webhook")?))
    }

    /// Status and body of a request to the port of metrics and debug endpoints.
    pub(crate) fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address("debug")?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("a head")?;
        let status = head.split(' ').nth(1).context("a status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// A body of JSON.
    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(path)?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// The value of a metric, by its whole name with labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.get("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("{name} in\n{text}"))?;
        Ok(line.trim().parse()?)
    }

    /// Waits until it is ready.
    pub(crate) fn await_ready(&self) -> Result<()> {
        let mut said = String::new();
        let ready = eventually(PATIENCE, || {
            let (status, body) = self.get("/ready").ok()?;
            said = body;
            (status == 200).then_some(())
        });
        ready.with_context(|| format!("{said}\n{}", self.log()))
    }

    /// Opens an ADS stream with a token, and closes it at once. Gives the headers and trailers.
    pub(crate) fn open_stream(&self, root: &Path, token: &str) -> Result<String> {
        const METHOD: &str =
            "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        let url = format!("https://{}/{METHOD}", self.address("xds")?);
        let authorization = format!("authorization: Bearer {token}");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "60", "--http2", "--cacert"]);
        curl.arg(root).args(["--header", &authorization]);
        for header in ["content-type: application/grpc", "te: trailers"] {
            curl.args(["--header", header]);
        }
        let output = curl
            .args(["--data-binary", "", "--dump-header", "-", &url])
            .output()?;
        ensure!(output.status.success(), "curl: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop, and gives the exit code.
    pub(crate) fn stop(mut self) -> Result<Option<i32>> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The webhook for pods of labelled namespaces, which this URL serves.
pub(crate) fn webhook(url: &str) -> String {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "weir-injector"},
        "webhooks": [{
            "name": "namespace.weir.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 10,
            "clientConfig": {"url": url},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                       "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"weir.dev/injection": "enabled"}},
        }],
    })
    .to_string()
}
