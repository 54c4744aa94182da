//! What connections meet where nobody may be served yet: policies are about the pod, and who may do what
//! the control plane alone says.

use serde_json::{Value, json};
use weir_api::names;

use super::{
    inbound::{chain, plaintext_http},
    parts::{all_to, http_connection_manager, tcp_proxy, typed},
};

/// What refuses a request, as details of its response name it.
const POLICY: &str = "until-the-control-plane-has-said-who-may-do-what";

/// Name of the filter.
const RBAC: &str = "envoy.filters.http.rbac";

/// The chains of a port, whatever is spoken there. Requests in plaintext are answered that they are
/// refused; all else is closed, a client of the mesh before its handshake, and the application hears
/// of nothing.
pub(super) fn chains(stat_prefix: &str) -> Vec<Value> {
    let closed = |kind, criteria| chain(kind, criteria, tcp_proxy(names::BLACK_HOLE_CLUSTER));
    let to = names::BLACK_HOLE_CLUSTER;
    let manager = http_connection_manager(stat_prefix, (to, all_to(to)), vec![rbac()]);
    // Beside a chain for plaintext HTTP, both other kinds must be named.
    vec![
        chain("refused-http", plaintext_http(), manager),
        closed("refused-tcp", json!({ "transport_protocol": "raw_buffer" })),
        closed("refused-tls", json!({ "transport_protocol": "tls" })),
    ]
}

/// What a route says whose requests are not refused.
pub(super) fn exempt() -> Value {
    let per_route = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
    json!({ RBAC: { "@type": per_route } })
}

/// The filter that refuses every request.
pub(super) fn rbac() -> Value {
    let any = json!([{ "any": true }]);
    typed(
        RBAC,
        "filters.http.rbac.v3.RBAC",
        json!({ "rules": {
            "action": "DENY",
            "policies": { POLICY: { "permissions": any, "principals": any } },
        }}),
    )
}
