//! Mutual TLS with clients of the mesh, as the control plane tells of it
//! (`discovery/src/xds/build/tls.rs`): the same messages, so that connections outlive the change from
//! one to the other.

use serde_json::{Value, json};
use weir_api::{
    spiffe::TrustDomain,
    xds::{
        codec,
        envoy::config::{core::v3::transport_socket::ConfigType, listener::v3::FilterChain},
    },
};

use super::parts::typed;
use crate::run::identity;

/// What clients of the mesh name by ALPN where HTTP is spoken.
pub(super) const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What they name otherwise.
pub(super) const MESH_TCP: [&str; 2] = ["istio-peer-exchange", "istio"];
/// What is spoken within TLS, where HTTP is.
pub(super) const HTTP: [&str; 2] = ["h2", "http/1.1"];

/// `envoy.config.core.v3.TransportSocket` of a chain that serves clients of the mesh alone.
pub(super) fn downstream(trust_domain: &TrustDomain, alpn: &[&str]) -> Value {
    let secret = |name: &str| json!({ "name": name, "sds_config": { "ads": {}, "resource_api_version": "V3" } });
    typed(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        json!({
            "require_client_certificate": true,
            "common_tls_context": {
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificate_sds_secret_configs": [secret(identity::SECRET)],
                "combined_validation_context": {
                    "default_validation_context": { "match_typed_subject_alt_names": [{
                        "san_type": "URI",
                        "matcher": { "prefix": trust_domain.prefix() },
                    }]},
                    "validation_context_sds_secret_config": secret(ROOT_CA),
                },
                "alpn_protocols": alpn,
            },
        }),
    )
}

/// Has the context be the bytes that the control plane sends, too: read from text, its fields are in
/// another order, and chains of other bytes are other chains.
pub(super) fn encode_again(chain: &mut FilterChain) {
    let socket = chain.transport_socket.as_mut();
    if let Some(ConfigType::TypedConfig(any)) = socket.and_then(|it| it.config_type.as_mut())
        && let Ok(context) = codec::unpack_downstream_tls_context(any)
    {
        *any = codec::pack_downstream_tls_context(&context);
    }
}

/// Name of the secret with the roots that peers are judged by, as Istio has it.
const ROOT_CA: &str = "ROOTCA";
