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
/// Header of a reply to a request that may be sent to another endpoint. Its value is a [`Mark`].
pub const UNDELIVERED: &str = "x-weir-undelivered";

/// What a sidecar knows of a request that its application did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing of it reached the application.
    Undelivered,
    /// The application may have seen it, and its connection ended before any of an answer came; the
    /// method is one that changes nothing (RFC 9110 section 9.2.1).
    Unanswered,
}

// === impl Mark ===

impl Mark {
    /// As the header says it.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Self::Undelivered => "1",
            Self::Unanswered => "unanswered",
        }
    }

    /// Reads a header's value.
    #[must_use]
    pub fn of(value: &[u8]) -> Option<Self> {
        let all = [Self::Undelivered, Self::Unanswered];
        all.into_iter()
            .find(|mark| mark.value().as_bytes() == value)
    }
}
