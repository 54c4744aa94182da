//! The program as a process beside a real API server.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tonic::{
    Request, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};
use weir_api::ca::{CertificateClient, CertificateRequest};
use weir_process::command::execute;
use weir_tests::{api_server::ApiServer, eventually::eventually, http, running::Running};

/// Far longer than anything takes; it only ends a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Namespace of the control plane.
pub(crate) const OWN: &str = "weir-system";

/// A running control plane.
pub(crate) struct Control {
    running: Running,
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
        command
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let mut running = Running::start(&mut command)?;
        let mut line = String::new();
        let out = running.stdout.take().context("standard output")?;
        BufReader::new(out).read_line(&mut line)?;
        let said = fs::read_to_string(&log)?;
        let bound = serde_json::from_str(&line).with_context(|| said)?;
        Ok(Self {
            running,
            bound,
            log,
        })
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
        let answer = http::get(self.address("debug")?, path)?;
        Ok((answer.status, answer.body))
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
        curl.args(["--data-binary", "", "--dump-header", "-", &url]);
        Ok(execute(&mut curl, "", PATIENCE)?)
    }

    /// Asks for a certificate with a token, as a sidecar does.
    pub(crate) fn certificate(&self, root: &Path, token: &str, csr: &str) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(fs::read(root)?))
            .domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address("xds")?))?;
        let mut request = Request::new(CertificateRequest {
            csr: csr.to_owned(),
            ..CertificateRequest::default()
        });
        let authorization = format!("Bearer {token}").parse()?;
        request
            .metadata_mut()
            .insert("authorization", authorization);
        runtime.block_on(async {
            let endpoint = endpoint.tls_config(tls)?.timeout(PATIENCE);
            let mut client = CertificateClient::new(endpoint.connect().await?);
            let answer = client.create_certificate(request).await;
            Ok(answer.map(|answer| answer.into_inner().cert_chain))
        })
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop, and gives the exit code.
    pub(crate) fn stop(mut self) -> Result<Option<i32>> {
        self.running.terminate();
        Ok(self.running.ended(PATIENCE)?.code())
    }
}

/// A chain of certificates, or why there is none.
pub(crate) type Answer = Result<Result<Vec<String>, Status>>;

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
