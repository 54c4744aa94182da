//! Flags and their environment twins.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;
use humantime::format_duration;
use weir_api::{ports, spiffe::TrustDomain};

use crate::ControlError;

mod kubernetes;

pub use kubernetes::{Kubernetes, LEADER_LEASE};

/// The control plane of Weir: tells sidecars about services, and adds sidecars to pods.
#[derive(Debug, Clone, Parser)]
#[command(name = "weir-control", version, about, max_term_width = 100)]
pub struct Config {
    /// Directory of Kubernetes manifests to take services and endpoints from, without a Kubernetes
    /// API server. It is watched.
    #[arg(long, env = "WEIR_MANIFESTS", value_name = "DIR")]
    pub manifests: Option<PathBuf>,

    /// Where xDS is served without TLS. Loopback only.
    #[arg(long, env = "WEIR_XDS_PLAINTEXT_ADDR", value_name = "ADDR", value_parser = address,
          default_value_t = local(ports::XDS_PLAINTEXT))]
    pub xds_plaintext_addr: SocketAddr,

    /// Where xDS is served over TLS.
    #[arg(long, env = "WEIR_XDS_ADDR", value_name = "ADDR", value_parser = address,
          default_value_t = any(ports::XDS_TLS))]
    pub xds_addr: SocketAddr,

    /// Minutes after which an xDS connection ends, give or take a tenth, so that clients spread over
    /// replicas and their tokens are checked again. They come back at once and miss nothing.
    #[arg(long, env = "WEIR_XDS_CONNECTION_AGE", value_name = "MINUTES", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=10_080))]
    pub xds_connection_age: u32,

    /// Where metrics and debug endpoints are served.
    #[arg(long, env = "WEIR_DEBUG_ADDR", value_name = "ADDR", value_parser = address,
          default_value_t = any(ports::CONTROL_DEBUG))]
    pub debug_addr: SocketAddr,

    /// From where debug endpoints answer. They show the names, addresses and versions of everything
    /// in the mesh, and no secrets. Metrics and readiness answer anybody.
    #[arg(long, env = "WEIR_DEBUG_FROM", value_name = "WHERE", value_enum,
          default_value_t = DebugFrom::Loopback)]
    pub debug_from: DebugFrom,

    /// Where admission webhooks are served over HTTPS.
    #[arg(long, env = "WEIR_WEBHOOK_ADDR", value_name = "ADDR", value_parser = address,
          default_value_t = any(ports::WEBHOOK))]
    pub webhook_addr: SocketAddr,

    /// Address of this machine's node, whose probes get through however many others connect.
    #[arg(long, env = "NODE_IP", value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,

    /// Certificates, PEM, one of which has to have signed the client certificate of whoever asks the
    /// webhooks. API servers show one where their AdmissionConfiguration says so; without this
    /// anybody may ask.
    #[arg(long, env = "WEIR_WEBHOOK_CLIENT_CA", value_name = "FILE")]
    pub webhook_client_ca: Option<PathBuf>,

    /// Directory of the certificate authority, with --manifests; it is made there if there is none,
    /// and root-cert.pem beside it is what clients trust.
    #[arg(
        long,
        env = "WEIR_CERTS_DIR",
        value_name = "DIR",
        default_value = "/var/lib/weir/certs"
    )]
    pub certs_dir: PathBuf,

    /// Public key, PEM, by which tokens of service accounts are checked, with --manifests. Then sidecars
    /// have to show one for xDS over TLS, and those who do may have certificates.
    #[arg(
        long,
        env = "WEIR_SERVICE_ACCOUNT_KEY",
        value_name = "FILE",
        requires = "manifests"
    )]
    pub service_account_key: Option<PathBuf>,

    /// Host names and addresses clients use: what the serving certificate is valid for. Without it
    /// the names of the Service, localhost and its addresses.
    #[arg(
        long,
        env = "WEIR_SERVING_NAMES",
        value_name = "NAME,..",
        value_delimiter = ','
    )]
    pub serving_names: Vec<String>,

    /// Configuration of the injector with --manifests, YAML or JSON; it is watched. Without it all
    /// settings have their defaults.
    #[arg(
        long,
        env = "WEIR_INJECTOR_CONFIG",
        value_name = "FILE",
        requires = "manifests"
    )]
    pub injector_config: Option<PathBuf>,

    /// Mesh-wide settings with --manifests, YAML or JSON; it is watched. Without it all have their
    /// defaults.
    #[arg(
        long,
        env = "WEIR_MESH_CONFIG",
        value_name = "FILE",
        requires = "manifests"
    )]
    pub mesh_config: Option<PathBuf>,

    /// Domain of the cluster, with which the names of services end.
    #[arg(
        long,
        env = "WEIR_CLUSTER_DOMAIN",
        value_name = "DOMAIN",
        default_value = "cluster.local"
    )]
    pub cluster_domain: String,

    /// Trust domain of the mesh: what the identities of its workloads begin with.
    #[arg(
        long,
        env = "WEIR_TRUST_DOMAIN",
        value_name = "DOMAIN",
        default_value_t = TrustDomain::default()
    )]
    pub trust_domain: TrustDomain,

    /// Life of the certificates of workloads, unless they ask for a shorter one. Sidecars renew
    /// theirs at half of it.
    #[arg(long, env = "WEIR_WORKLOAD_CERT_LIFE", value_name = "DURATION", default_value = "24h",
          value_parser = humantime::parse_duration)]
    pub workload_cert_life: Duration,

    /// What is logged, as a filter such as `info` or `weir_discovery=debug`.
    #[arg(long, env = "WEIR_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// What is only meant without --manifests.
    #[command(flatten)]
    pub kubernetes: Kubernetes,
}

/// Shortest life of a workload's certificate: one renewed at half of it is still asked for in time.
const SHORTEST_WORKLOAD_LIFE: Duration = Duration::from_secs(4);
/// Longest life of a workload's certificate, as Istio has it: nothing revokes one.
const LONGEST_WORKLOAD_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How the control plane is reached on its own machine.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// From where debug endpoints answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DebugFrom {
    /// From this machine only, as `kubectl port-forward` and `kubectl exec` ask.
    Loopback,
    /// From anywhere.
    Anywhere,
}

// === impl Config ===

impl Config {
    /// Checks what no single flag can check.
    ///
    /// # Errors
    /// What is wrong, with the flag to change.
    pub fn check(&self) -> Result<(), ControlError> {
        if !self.xds_plaintext_addr.ip().is_loopback() {
            let reason = format!(
                "--xds-plaintext-addr {}: is served on loopback only, because anybody could read \
                 it; use --xds-addr for other machines",
                self.xds_plaintext_addr
            );
            return Err(ControlError::Config(reason));
        }
        let (life, least) = (self.workload_cert_life, SHORTEST_WORKLOAD_LIFE);
        if life < least || life > LONGEST_WORKLOAD_LIFE {
            let (life, least) = (format_duration(life), format_duration(least));
            let most = format_duration(LONGEST_WORKLOAD_LIFE);
            let reason = format!("--workload-cert-life {life}: from {least} to {most}");
            return Err(ControlError::Config(reason));
        }
        self.kubernetes.check(life)
    }

    /// Whether workloads get certificates.
    pub(crate) fn issues_certificates(&self) -> bool {
        match &self.manifests {
            Some(_) => self.service_account_key.is_some(),
            None => self.kubernetes.serving_cert_dir.is_none(),
        }
    }

    /// Host names and addresses the serving certificate is valid for.
    #[must_use]
    pub fn serving_names(&self) -> Vec<String> {
        if !self.serving_names.is_empty() {
            return self.serving_names.clone();
        }
        let mut names = self.kubernetes.service_names(&self.cluster_domain);
        names.extend(LOCAL_NAMES.map(str::to_owned));
        names
    }
}

/// `IP:PORT`, or `:PORT` for every IPv4 address of this machine.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix(':') {
        Some(port) => format!("{}:{port}", Ipv4Addr::UNSPECIFIED),
        None => text.to_owned(),
    };
    full.parse()
        .map_err(|_| "expected IP:PORT or :PORT".to_owned())
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
