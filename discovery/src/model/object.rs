//! What registries say.

use std::sync::Arc;

use super::{Attachment, EndpointSlice, NamespacedName, Node, Pod, RuleName, Service};

/// A change a registry saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The object is there, new or changed.
    Applied(Object),
    /// The object is gone.
    Deleted(ObjectKey),
}

/// An object of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A service.
    Service(Service),
    /// A part of its endpoints.
    EndpointSlice(EndpointSlice),
    /// A pod.
    Pod(Pod),
    /// A node.
    Node(Node),
    /// What a rule means for workloads.
    Attachment(Attachment),
}

/// What tells objects apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// A service.
    Service(NamespacedName),
    /// A part of its endpoints.
    EndpointSlice(NamespacedName),
    /// A pod.
    Pod(NamespacedName),
    /// A node.
    Node(Arc<str>),
    /// What a rule means for workloads.
    Attachment(RuleName),
}

// === impl Object ===

impl Object {
    /// What tells this object apart.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Service(service) => ObjectKey::Service(service.name.clone()),
            Self::EndpointSlice(slice) => ObjectKey::EndpointSlice(slice.name.clone()),
            Self::Pod(pod) => ObjectKey::Pod(pod.name.clone()),
            Self::Node(node) => ObjectKey::Node(node.name.clone()),
            Self::Attachment(attachment) => ObjectKey::Attachment(attachment.rule.clone()),
        }
    }
}
