//! TLS contexts, as the control plane makes them for a mesh, but for what would let two proxies choose
//! differently: TLS 1.3 alone, and one group for the exchange of keys.

use serde_json::{Value, json};

use super::identity::{Identities, SERVER, SERVER_NAME, TRUST_DOMAIN};
use crate::{
    pods::Side,
    scenario::{Protocol, Sessions},
};

/// Group of the key exchange.
pub(super) const GROUP: &str = "X25519";
/// What Envoy and Weir agree on where nothing says otherwise and the processor has AES.
pub(super) const CIPHER: &str = "TLS_AES_128_GCM_SHA256";
/// What clients of the mesh name by ALPN.
pub(super) const MESH: [&str; 5] = [
    "istio-peer-exchange",
    "istio",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];
/// Sessions that a client keeps: more than there are connections at a time, each of which uses one up.
const SESSIONS: u32 = 64;

/// `transport_socket` of the client's cluster.
pub(super) fn upstream(protocol: Protocol, sessions: Sessions, identities: &Identities) -> Value {
    let alpn: &[&str] = match protocol {
        Protocol::Http1 => &["istio-http/1.1", "istio"],
        Protocol::Http2 => &["istio-h2", "istio", "h2"],
        Protocol::Tcp => &["istio"],
    };
    let server = json!({ "exact": SERVER });
    let kept = match sessions {
        Sessions::Kept => SESSIONS,
        Sessions::Forgotten => 0,
    };
    socket(
        "UpstreamTlsContext",
        json!({
            "sni": SERVER_NAME,
            "max_session_keys": kept,
            "common_tls_context": common(Side::Outbound, &server, alpn, identities),
        }),
    )
}

/// `transport_socket` of a filter chain of the server.
pub(super) fn downstream(protocol: Protocol, identities: &Identities) -> Value {
    let alpn: &[&str] = match protocol {
        Protocol::Http1 | Protocol::Http2 => &["h2", "http/1.1"],
        Protocol::Tcp => &[],
    };
    let anybody = json!({ "prefix": TRUST_DOMAIN });
    socket(
        "DownstreamTlsContext",
        json!({
            "require_client_certificate": true,
            "common_tls_context": common(Side::Inbound, &anybody, alpn, identities),
        }),
    )
}

/// The sidecar's own certificate, and those of peers of the authority whose name is of `peers`.
fn common(side: Side, peers: &Value, alpn: &[&str], identities: &Identities) -> Value {
    let inline = |text: &str| json!({ "inline_string": text });
    let own = identities.of(side);
    json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
            "ecdh_curves": [GROUP],
        },
        "tls_certificates": [{
            "certificate_chain": inline(&own.chain), "private_key": inline(&own.key),
        }],
        "validation_context": {
            "trusted_ca": inline(identities.authority()),
            "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": peers }],
        },
        "alpn_protocols": alpn,
    })
}

fn socket(message: &str, mut context: Value) -> Value {
    let package = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
    context["@type"] = json!(format!("{package}.{message}"));
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}
