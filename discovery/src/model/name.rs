//! Names of namespaced objects.

use std::{fmt, sync::Arc};

/// Namespace and name of an object. Cheap to clone: it keys every table of the model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name within the namespace.
    pub name: Arc<str>,
}

// === impl NamespacedName ===

impl NamespacedName {
    /// A name in a namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Something else of the same namespace.
    #[must_use]
    pub fn named_like(&self, name: &Arc<str>) -> Self {
        Self {
            namespace: self.namespace.clone(),
            name: name.clone(),
        }
    }

    /// Whether it is the name of a host that a rule declares: those of Services have no dot.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.name.contains('.')
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
