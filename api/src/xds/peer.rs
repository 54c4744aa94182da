//! What sidecars know of and tell each other, so that a request which never reached the application
//! of one can be sent to another.
//!
//! The control plane says in an endpoint's metadata that a sidecar stands before it on every port:
//!
//! ```yaml
//! metadata:
//!   filter_metadata:
//!     weir.dev: { sidecar: "true" }
//! ```
//!
//! That sidecar marks its own replies to requests of which no byte was sent to the application with
//! [`UNDELIVERED`], and takes the header from the application's. So of such an endpoint the mark says
//! what it says, and of any other it is nothing but a header.

/// Field of the struct `weir.dev` ([`super::on_demand::METADATA_NAMESPACE`]) of an endpoint's metadata.
pub const SIDECAR: &str = "sidecar";
/// Its value, where there is a sidecar.
pub const SIDECAR_YES: &str = "true";
/// Header of a reply to a request of which nothing reached the application.
pub const UNDELIVERED: &str = "x-weir-undelivered";
