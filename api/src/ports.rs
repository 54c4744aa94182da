//! The ports of a sidecar and of the control plane. They are Istio's, because people know them.

/// Admin interface of the proxy, on loopback only.
pub const ADMIN: u16 = 15000;
/// Where captured outbound connections land.
pub const OUTBOUND: u16 = 15001;
/// The port the redirect proof dials; nothing listens on it.
pub const REDIRECT_PROBE: u16 = 15002;
/// Where captured inbound connections land.
pub const INBOUND: u16 = 15006;
/// Reserved for a tunnel between sidecars; inbound capture leaves it alone.
pub const TUNNEL: u16 = 15008;
/// Merged metrics and status, read-only.
pub const STATUS: u16 = 15020;
/// Readiness of the sidecar: `GET /healthz/ready`.
pub const READINESS: u16 = 15021;
/// DNS proxy, on loopback only.
pub const DNS: u16 = 15053;
/// The proxy's own statistics in the Prometheus text format.
pub const PROMETHEUS: u16 = 15090;

/// xDS without TLS, on loopback or for development.
pub const XDS_PLAINTEXT: u16 = 15010;
/// xDS over TLS.
pub const XDS_TLS: u16 = 15012;
/// The control plane's metrics and debug endpoints.
pub const CONTROL_DEBUG: u16 = 15014;
/// Admission webhooks (the Service in front listens on 443).
pub const WEBHOOK: u16 = 15017;

/// Inbound ports of the pod that belong to the sidecar and are never captured.
pub const NEVER_CAPTURED_INBOUND: [u16; 3] = [PROMETHEUS, READINESS, STATUS];
