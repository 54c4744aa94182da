//! The contract between the injected pod spec and `weir-agent run`: container names, environment
//! variables, mounted files. The injector writes them, the agent reads them, the playground
//! plays the kubelet for them.

use serde::{Deserialize, Serialize};

/// Name of the init container that programs iptables.
pub const INIT_CONTAINER: &str = "weir-init";
/// Reason of the Event about a pod whose sidecar never reached a control plane.
pub const UNCONNECTED: &str = "SidecarUnconnected";
/// Name of the sidecar container.
pub const PROXY_CONTAINER: &str = "weir-proxy";
/// Default image of both.
pub const DEFAULT_IMAGE: &str = "ghcr.io/weir-mesh/weir:0.1.0";

/// Environment of the sidecar. Each is also a flag of `weir-agent run`.
pub mod env {
    /// Name of the pod (downward API).
    pub const POD_NAME: &str = "POD_NAME";
    /// Namespace of the pod (downward API).
    pub const POD_NAMESPACE: &str = "POD_NAMESPACE";
    /// First address of the pod (downward API).
    pub const POD_IP: &str = "POD_IP";
    /// All addresses of the pod, comma-separated (downward API).
    pub const POD_IPS: &str = "POD_IPS";
    /// Service account of the pod (downward API).
    pub const SERVICE_ACCOUNT: &str = "SERVICE_ACCOUNT";
    /// Name of the node (downward API).
    pub const NODE_NAME: &str = "NODE_NAME";
    /// `host:port` of the control plane's xDS over TLS. Empty: run without a control plane.
    pub const CONTROL_PLANE: &str = "WEIR_CONTROL_PLANE";
    /// Ports of the application's containers: a JSON list of [`super::PodPort`].
    pub const POD_PORTS: &str = "WEIR_POD_PORTS";
    /// CPU request of the sidecar in millicores (downward API, `requests.cpu`, divisor `1m`).
    pub const CPU_REQUEST: &str = "WEIR_CPU_REQUEST";
    /// Worker threads, when the pod's annotation sets them.
    pub const CONCURRENCY: &str = "WEIR_CONCURRENCY";
    /// Name of the workload that owns the pod.
    pub const WORKLOAD: &str = "WEIR_WORKLOAD";
    /// Kind of the workload that owns the pod, such as `Deployment`.
    pub const WORKLOAD_KIND: &str = "WEIR_WORKLOAD_KIND";
    /// Labels of the pod by which metrics name its workload: a JSON object with those of
    /// [`crate::workload::LABELS`] that it has. Absent: it has none.
    pub const POD_LABELS: &str = "WEIR_POD_LABELS";
    /// What mesh metrics are called, where it is not the default: a
    /// [`crate::mesh_metrics::MeshMetrics`].
    pub const MESH_METRICS: &str = "WEIR_MESH_METRICS";
    /// Labels that mesh metrics do without: [`crate::mesh_metrics::Label`]s with commas between. Absent: none.
    pub const MESH_METRICS_WITHOUT: &str = "WEIR_MESH_METRICS_WITHOUT";
    /// How long sidecars remember who did what at their pods, minutes, where it is not
    /// [`crate::flows::DEFAULT_MINUTES`]; 0: not at all.
    pub const FLOW_MINUTES: &str = "WEIR_FLOW_MINUTES";
    /// Domain of the cluster.
    pub const CLUSTER_DOMAIN: &str = "WEIR_CLUSTER_DOMAIN";
    /// Trust domain of the mesh, where it is not the default.
    pub const TRUST_DOMAIN: &str = "WEIR_TRUST_DOMAIN";
    /// Who is served on the pod's ports, as rules said when it was admitted: an
    /// [`crate::inbound_tls::InboundTls`]. Absent: everybody.
    pub const INBOUND_TLS: &str = "WEIR_INBOUND_TLS";
    /// `true`: an AuthorizationPolicy was about the pod when it was admitted, so that nobody is served
    /// until the control plane has said who may do what.
    pub const REFUSE_INBOUND: &str = "WEIR_REFUSE_INBOUND";
    /// What the kubelet asks the pod, where it would be refused: a JSON list of
    /// [`crate::inbound_demands::Probe`].
    pub const PROBES: &str = "WEIR_PROBES";
    /// Address of the pod's node, which probes come from.
    pub const HOST_IP: &str = "WEIR_HOST_IP";
    /// Instead of [`super::STATE_DIR`].
    pub const STATE_DIR: &str = "WEIR_STATE_DIR";
    /// A `tracing` filter.
    pub const LOG: &str = "WEIR_LOG";
    /// `redirect`, `tproxy` or `none`; with `none` readiness does not wait for the redirect.
    pub const CAPTURE_MODE: &str = "WEIR_CAPTURE_MODE";
    /// `true`: speak to the control plane without TLS, for development.
    pub const CONTROL_PLANE_PLAINTEXT: &str = "WEIR_CONTROL_PLANE_PLAINTEXT";
    /// Name in the control plane's certificate, where it is not the host it is dialled by.
    pub const CONTROL_PLANE_NAME: &str = "WEIR_CONTROL_PLANE_NAME";
    /// Instead of [`super::CA_FILE`] in [`super::CA_DIR`].
    pub const CA_FILE: &str = "WEIR_CA_FILE";
    /// Instead of [`super::TOKEN_FILE`] in [`super::TOKEN_DIR`].
    pub const TOKEN_FILE: &str = "WEIR_TOKEN_FILE";
    /// After SIGTERM the sidecar ends at the latest after so many seconds.
    pub const DRAIN_TIMEOUT: &str = "WEIR_DRAIN_TIMEOUT";
    /// After SIGTERM the sidecar serves at least so many seconds. A native sidecar needs 0.
    pub const DRAIN_MINIMUM: &str = "WEIR_DRAIN_MINIMUM";
}

/// Where the ConfigMap with the control plane's root certificate is mounted.
pub const CA_DIR: &str = "/var/run/secrets/weir.dev/ca";
/// File in [`CA_DIR`]: PEM, one or more root certificates.
pub const CA_FILE: &str = "root-cert.pem";
/// Name of the ConfigMap, in every injected namespace, whose key is [`CA_FILE`].
pub const CA_CONFIG_MAP: &str = "weir-ca-root-cert";
/// Where the projected service account token is mounted.
pub const TOKEN_DIR: &str = "/var/run/secrets/weir.dev/tokens";
/// File in [`TOKEN_DIR`].
pub const TOKEN_FILE: &str = "token";
/// Where the sidecar keeps what is to outlive its container: a volume of the pod.
pub const STATE_DIR: &str = "/var/lib/weir";
/// Audience of the token.
pub const TOKEN_AUDIENCE: &str = "weir-ca";
/// Default address of the control plane's xDS.
pub const DEFAULT_CONTROL_PLANE: &str = "weir-control.weir-system.svc:15012";
/// Path of the readiness probe on [`crate::ports::READINESS`].
pub const READY_PATH: &str = "/healthz/ready";

/// Largest head of a request that a sidecar takes, KiB. Envoy's 60 is less than applications send each
/// other; what is much more is sent by nobody who means well.
pub const MAX_REQUEST_HEADERS_KB: u32 = 256;

/// A port an application container declares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPort {
    /// Name of the port; its prefix up to the first `-` may name a protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Number of the port.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`; TCP where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}
