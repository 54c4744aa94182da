//! Nodes: where pods are.

use std::sync::Arc;

use super::Locality;

/// A node, as far as discovery cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is. Endpoints on the node are there too.
    pub locality: Arc<Locality>,
}
