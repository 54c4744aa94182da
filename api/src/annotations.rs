//! Labels and annotations of namespaces and pods, each named once.

/// Namespace label that turns injection on (`enabled`) or off (`disabled`).
pub const NAMESPACE_INJECTION: &str = "weir.dev/injection";
/// Pod label (and annotation of the same name) that decides for one pod: `"true"` or `"false"`.
pub const INJECT: &str = "weir.dev/inject";
/// Label of a namespace or pod: the revision of the control plane that it belongs to.
pub const REVISION: &str = "weir.dev/rev";
/// Written by the injector: what was added to the pod, as JSON.
pub const STATUS: &str = "weir.dev/status";

/// Destinations whose outbound connections are captured: CIDRs, or `*`.
pub const INCLUDE_OUTBOUND_CIDRS: &str = "weir.dev/include-outbound-cidrs";
/// Destinations whose outbound connections are left alone: CIDRs.
pub const EXCLUDE_OUTBOUND_CIDRS: &str = "weir.dev/exclude-outbound-cidrs";
/// Outbound ports captured whatever the address.
pub const INCLUDE_OUTBOUND_PORTS: &str = "weir.dev/include-outbound-ports";
/// Outbound ports left alone.
pub const EXCLUDE_OUTBOUND_PORTS: &str = "weir.dev/exclude-outbound-ports";
/// Inbound ports captured: ports, or `*`.
pub const INCLUDE_INBOUND_PORTS: &str = "weir.dev/include-inbound-ports";
/// Inbound ports left alone.
pub const EXCLUDE_INBOUND_PORTS: &str = "weir.dev/exclude-inbound-ports";
/// Network interfaces whose packets are left alone.
pub const EXCLUDE_INTERFACES: &str = "weir.dev/exclude-interfaces";
/// `redirect`, `tproxy` or `none`.
pub const CAPTURE_MODE: &str = "weir.dev/capture-mode";

/// Image of the sidecar and of its init container.
pub const PROXY_IMAGE: &str = "weir.dev/proxy-image";
/// CPU request of the sidecar.
pub const PROXY_CPU: &str = "weir.dev/proxy-cpu";
/// Memory request of the sidecar.
pub const PROXY_MEMORY: &str = "weir.dev/proxy-memory";
/// CPU limit of the sidecar; none unless set.
pub const PROXY_CPU_LIMIT: &str = "weir.dev/proxy-cpu-limit";
/// Memory limit of the sidecar; none unless set.
pub const PROXY_MEMORY_LIMIT: &str = "weir.dev/proxy-memory-limit";
/// Log level of the sidecar: a `tracing` filter such as `info` or `weir_proxy=debug`.
pub const LOG_LEVEL: &str = "weir.dev/log-level";
/// Worker threads of the sidecar.
pub const CONCURRENCY: &str = "weir.dev/concurrency";
/// `"true"` or `"false"`: native sidecar, whatever the nodes' kubelets say.
pub const NATIVE_SIDECAR: &str = "weir.dev/native-sidecar";

/// How other sidecars speak with this one: [`TLS_MODE_MUTUAL`], which the injector writes where nobody
/// says otherwise, or [`TLS_MODE_DISABLED`].
pub const TLS_MODE: &str = "weir.dev/tls-mode";
/// Mutual TLS with certificates of the mesh; the word is Istio's.
pub const TLS_MODE_MUTUAL: &str = "istio";
/// In plaintext.
pub const TLS_MODE_DISABLED: &str = "disabled";

/// Every annotation a pod may carry. An unknown one with our prefix is an admission warning.
pub const KNOWN: [&str; 19] = [
    INJECT,
    STATUS,
    INCLUDE_OUTBOUND_CIDRS,
    EXCLUDE_OUTBOUND_CIDRS,
    INCLUDE_OUTBOUND_PORTS,
    EXCLUDE_OUTBOUND_PORTS,
    INCLUDE_INBOUND_PORTS,
    EXCLUDE_INBOUND_PORTS,
    EXCLUDE_INTERFACES,
    CAPTURE_MODE,
    PROXY_IMAGE,
    PROXY_CPU,
    PROXY_MEMORY,
    PROXY_CPU_LIMIT,
    PROXY_MEMORY_LIMIT,
    LOG_LEVEL,
    CONCURRENCY,
    NATIVE_SIDECAR,
    TLS_MODE,
];

/// Prefix of every label and annotation of the project.
pub const PREFIX: &str = "weir.dev/";
