//! Objects that people write to say how traffic is to be treated, and what they mean: pure functions
//! from an object to [`Attachment`](crate::model::Attachment)s of the model, one file a kind. Who
//! builds resources reads attachments and knows no kind.
//!
//! What cannot be honoured is a [`Problem`](crate::kubernetes::Problem) that names the object and the
//! field, and what is not known is no object of its kind: nothing is passed over in silence.

pub mod peer_authentication;

use std::sync::Arc;

/// What the meaning of rules depends on beside themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace whose rules are about the whole mesh: that of the control plane.
    pub root_namespace: Arc<str>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            root_namespace: "weir-system".into(),
        }
    }
}
