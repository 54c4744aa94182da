//! xDS v3: generated messages and gRPC stubs under one roof, type URLs, and encoding.
//!
//! The messages are Envoy's (`envoy-types`); this crate is the only one that instantiates their
//! generic `encode` and `decode`.

pub use envoy_types::pb::{envoy, google};
pub use tonic;

pub mod codec;
pub mod json;
pub mod on_demand;
pub mod peer;
pub mod session_cookie;
pub mod type_url;

/// Field of an endpoint's metadata, a boolean in the namespace [`on_demand::METADATA_NAMESPACE`]: the
/// endpoint stands in where no other is known, and is the address of a service that may have
/// nobody behind it. A dial of it is bounded tightly and not repeated. Real Envoy ignores it.
pub const LAST_RESORT: &str = "last_resort";

/// Field of an endpoint's metadata under `envoy.transport_socket_match`, by which a cluster chooses how
/// to speak with it: [`crate::annotations::TLS_MODE_MUTUAL`] where mutual TLS with certificates of the
/// mesh is taken. It is called so in Istio, too.
pub const TLS_MODE: &str = "tlsMode";

/// Bytes and a name of what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{type_url}: {reason}")]
pub struct DecodeError {
    /// The type that was expected.
    pub type_url: &'static str,
    /// What is wrong.
    pub reason: String,
}
