//! Discovery by need, said in the words of Envoy's API: a listener with `use_original_dst` whose
//! metadata carries the namespace [`METADATA_NAMESPACE`] asks the control plane for the Listener
//! named [`crate::names::outbound_listener`] on the first connection to a destination.
//!
//! A listener of the bootstrap whose metadata carries [`REPLACEABLE`] is asked for by its own name,
//! too: what the control plane has under that name takes its place.
//!
//! Real Envoy ignores the metadata, so one bootstrap serves both.
//!
//! ```yaml
//! metadata:
//!   filter_metadata:
//!     weir.dev:
//!       on_demand: { timeout_ms: 200, idle_s: 600, absent_ttl_s: 30 }
//!       replaceable: true
//! ```

/// Key in `Listener.metadata.filter_metadata`.
pub const METADATA_NAMESPACE: &str = "weir.dev";
/// Field of the namespace's struct that turns discovery by need on.
pub const FIELD: &str = "on_demand";
/// How long a first connection waits for the answer before it is passed through, milliseconds.
pub const TIMEOUT_MS: &str = "timeout_ms";
/// How long an unused destination is remembered, seconds.
pub const IDLE_S: &str = "idle_s";
/// How long "the mesh does not know it" is remembered, seconds.
pub const ABSENT_TTL_S: &str = "absent_ttl_s";
/// Field of the namespace's struct that lets the control plane replace a listener of the bootstrap.
pub const REPLACEABLE: &str = "replaceable";
