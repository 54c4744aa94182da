//! What is not taken from a client where the connection manager is the edge of the trusted network:
//! with `use_remote_address`. The list is what Envoy removes from external requests.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/header_sanitizing>

use http::HeaderMap;

use crate::{config::HttpConnectionManager, http::codec::h1::head::FieldKind};

/// Behind `x-envoy-`: orders to the router, and what only a proxy can know.
const OF_ENVOY: [&[u8]; 21] = [
    b"decorator-operation",
    b"downstream-service-cluster",
    b"downstream-service-node",
    b"expected-rq-timeout-ms",
    b"force-trace",
    b"hedge-on-per-try-timeout",
    b"internal",
    b"ip-tags",
    b"max-retries",
    b"original-host",
    b"original-path",
    b"original-url",
    b"retriable-header-names",
    b"retriable-status-codes",
    b"retry-grpc-on",
    b"retry-on",
    b"upstream-alt-stat-name",
    b"upstream-rq-per-try-timeout-ms",
    b"upstream-rq-timeout-alt-response",
    b"upstream-rq-timeout-ms",
    b"upstream-stream-duration-ms",
];

/// Whether a field of a request is taken from whoever sent it.
pub(super) fn is_trusted(config: &HttpConnectionManager, kind: FieldKind, name: &[u8]) -> bool {
    if !config.use_remote_address {
        return true;
    }
    match kind {
        FieldKind::XEnvoy => {
            let rest = name.get(b"x-envoy-".len()..).unwrap_or_default();
            !OF_ENVOY
                .iter()
                .any(|known| rest.eq_ignore_ascii_case(known))
        }
        // A proxy in front that is trusted knows better.
        FieldKind::ForwardedProto => config.xff_num_trusted_hops > 0,
        _ => true,
    }
}

/// Removes from a request's header what is not taken from whoever sent it.
pub(super) fn sanitize(config: &HttpConnectionManager, headers: &mut HeaderMap) {
    if !config.use_remote_address {
        return;
    }
    let trusted = |name: &[u8]| is_trusted(config, FieldKind::of(name), name);
    let names = headers.keys();
    let gone: Vec<_> = names
        .filter(|name| !trusted(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
}
