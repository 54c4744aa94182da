//! Kubernetes objects to objects of the model. No I/O: the manifests registry reads the objects
//! from files, a watch gets them from the API server.
//!
//! What is wrong with one object, or with one port or endpoint of it, is a [`Problem`] that names
//! the object and the field. It never stops the rest.

mod endpoint_slice;
mod node;
mod pod;
mod service;

use std::fmt;

pub use endpoint_slice::{SERVICE_NAME_LABEL, endpoint_slice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub use node::{REGION_LABEL, SUB_ZONE_LABEL, ZONE_LABEL, node};
pub use pod::{pod, pod_is_ready, workload};
pub use service::service;

use crate::model::NamespacedName;

/// What is wrong with an object, or with a part of it that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Kind, namespace and name.
    pub object: String,
    /// Path of the field.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Collects the problems of one object.
#[derive(Debug)]
pub struct Problems<'a> {
    object: String,
    sink: &'a mut Vec<Problem>,
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            field,
            reason,
        } = self;
        write!(f, "{object}: {field}: {reason}")
    }
}

// === impl Problems ===

impl<'a> Problems<'a> {
    /// For the object of that kind and name.
    pub fn of(kind: &str, meta: &ObjectMeta, sink: &'a mut Vec<Problem>) -> Self {
        let namespace = namespace(meta);
        let name = meta.name.as_deref().unwrap_or("(without a name)");
        Self {
            object: format!("{kind} {namespace}/{name}"),
            sink,
        }
    }

    /// Notes one.
    pub fn push(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.sink.push(Problem {
            object: self.object.clone(),
            field: field.into(),
            reason: reason.into(),
        });
    }

    /// The object's name, which it must have.
    fn name(&mut self, meta: &ObjectMeta) -> Option<NamespacedName> {
        match meta.name.as_deref() {
            Some(name) if !name.is_empty() => Some(NamespacedName::new(namespace(meta), name)),
            _ => {
                self.push("metadata.name", "is missing");
                None
            }
        }
    }

    /// A port number.
    fn port(&mut self, field: impl Into<String>, port: i32) -> Option<u16> {
        let number = u16::try_from(port).ok().filter(|port| *port != 0);
        if number.is_none() {
            self.push(field, format!("{port} is not a port (1 to 65535)"));
        }
        number
    }
}

/// Namespace of an object; manifests may leave it out.
#[must_use]
pub fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or("default")
}

/// Whether a port's protocol is TCP, which it is unless it says otherwise.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}
