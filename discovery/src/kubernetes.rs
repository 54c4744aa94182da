//! The Kubernetes API as a registry, and its objects as objects of the model.
//!
//! [`watch`] follows the API server. The functions that read an object do no I/O: the manifests
//! registry uses them on objects from files. What is wrong with one object, or with one port or
//! endpoint of it, is a [`Problem`] that names the object and the field. It never stops the rest.

mod endpoint_slice;
mod node;
mod pod;
mod probe;
mod service;
mod watch;
pub mod wire;

use std::fmt;

pub use endpoint_slice::{SERVICE_NAME_LABEL, endpoint_slice};
pub use node::{REGION_LABEL, SUB_ZONE_LABEL, ZONE_LABEL, node};
pub use pod::{pod, pod_is_ready, workload};
pub use probe::probes;
pub use service::service;
pub use watch::{WatchStatus, Watches, watch};

use crate::model::{Interner, NamespacedName};

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
    kind: &'static str,
    meta: &'a wire::Meta,
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
    pub fn of(kind: &'static str, meta: &'a wire::Meta, sink: &'a mut Vec<Problem>) -> Self {
        Self { kind, meta, sink }
    }

    /// Notes one.
    pub fn push(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.sink.push(Problem {
            object: self.meta.describe(self.kind),
            field: field.into(),
            reason: reason.into(),
        });
    }

    /// The object's name, which it must have.
    pub(crate) fn name(&mut self, names: &Interner) -> Option<NamespacedName> {
        match self.meta.name.as_deref() {
            Some(name) if !name.is_empty() => Some(names.name(self.meta.namespace(), name)),
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

/// Whether a port's protocol is TCP, which it is unless it says otherwise.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}
