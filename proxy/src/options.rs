//! What the binary tells the data plane besides the bootstrap.

use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
};

use tokio::sync::watch;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use weir_api::xds::envoy::config::bootstrap::v3 as proto;

use crate::{flows::Flows, mesh_metrics::MeshMetrics, secrets::Local};

/// What the binary tells the data plane besides the bootstrap.
#[derive(Debug)]
pub struct Options {
    /// Worker threads.
    pub concurrency: NonZeroUsize,
    /// The message the bootstrap was made from, for `/config_dump` and `/server_info`.
    pub source: proto::Bootstrap,
    /// Name of the file it was read from; empty if it was generated.
    pub config_path: String,
    /// How the control plane is reached, beyond what the bootstrap says.
    pub control_plane: ControlPlane,
    /// Listeners that anybody may read.
    pub read_only: ReadOnlyListeners,
    /// Changes the log filter at run time, for `POST /logging`.
    pub log_filter: Option<LogFilter>,
    /// What the readiness answer says beside its state, which they do not change; empty: nothing.
    pub notes: Vec<watch::Receiver<String>>,
    /// A condition of readiness that lies outside of the data plane, such as a proven redirect.
    pub ready: Option<watch::Receiver<bool>>,
    /// Secrets that the process itself provides.
    pub local_secrets: Option<Local>,
    /// Counts who calls whom; none: that is not counted.
    pub mesh_metrics: Option<Arc<MeshMetrics>>,
    /// Remembers who did what at this pod; none: that is not remembered.
    pub flows: Option<Arc<Flows>>,
    /// Gives free memory back to the system, for `envoy.overload_actions.shrink_heap`. True if there was
    /// some.
    pub trim_heap: Option<fn() -> bool>,
}

/// How the control plane is reached, beyond what the bootstrap says.
#[derive(Debug, Clone, Default)]
pub struct ControlPlane {
    /// `host:port`, resolved on each connect. None: the endpoint of the ADS cluster.
    pub address: Option<String>,
    /// Speak TLS.
    pub tls: Option<ControlPlaneTls>,
}

/// TLS towards the control plane. The files are read on each connect, so that they may rotate.
#[derive(Debug, Clone)]
pub struct ControlPlaneTls {
    /// PEM with the roots that its certificate must come from.
    pub ca_file: PathBuf,
    /// The name its certificate must have. None: the host of the address.
    pub server_name: Option<String>,
    /// File with a token that is sent as `authorization: Bearer ...`, if it exists.
    pub token_file: Option<PathBuf>,
}

/// Why the control plane cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A file of its TLS.
    #[error("cannot read {0}")]
    File(String, #[source] io::Error),
    /// The address, or the roots.
    #[error("cannot connect")]
    Endpoint(#[from] tonic::transport::Error),
}

/// The control plane at `host:port`, resolved on each connect, as it is dialled now.
///
/// # Errors
/// The file with its roots cannot be read, or the address is none.
pub fn endpoint(address: &str, tls: Option<&ControlPlaneTls>) -> Result<Endpoint, EndpointError> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?;
    let Some(tls) = tls else {
        return Ok(endpoint);
    };
    let roots = fs::read(&tls.ca_file)
        .map_err(|source| EndpointError::File(tls.ca_file.display().to_string(), source))?;
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots));
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    Ok(endpoint.tls_config(config)?)
}

/// Addresses of the listeners that are safe to expose: they answer GET only, and nothing that
/// shows configuration.
#[derive(Debug, Clone, Default)]
pub struct ReadOnlyListeners {
    /// `GET /stats/prometheus`.
    pub prometheus: Vec<SocketAddr>,
    /// `GET /healthz/ready`.
    pub readiness: Vec<SocketAddr>,
    /// Both.
    pub status: Vec<SocketAddr>,
    /// Where probes come from, besides the machine itself: they get through however many others connect,
    /// up to a bound also to the application where memory or connections are too many.
    pub probes: Vec<IpAddr>,
}

/// Replaces the log filter by the one given as text, or says why it cannot.
#[derive(Clone)]
pub struct LogFilter(pub Arc<SetFilter>);

/// See [`LogFilter`].
pub type SetFilter = dyn Fn(&str) -> Result<(), String> + Send + Sync;

// === impl Options ===

impl Options {
    /// One worker, no read-only listeners.
    #[must_use]
    pub fn new(source: proto::Bootstrap) -> Self {
        Self {
            concurrency: NonZeroUsize::MIN,
            source,
            config_path: String::new(),
            control_plane: ControlPlane::default(),
            read_only: ReadOnlyListeners::default(),
            log_filter: None,
            notes: Vec::new(),
            ready: None,
            local_secrets: None,
            mesh_metrics: None,
            flows: None,
            trim_heap: None,
        }
    }
}

// === impl LogFilter ===

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogFilter")
    }
}
