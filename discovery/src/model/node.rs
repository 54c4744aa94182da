//! Nodes: where pods are.

use std::{net::IpAddr, sync::Arc};

use super::Locality;

/// A node, as far as discovery cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is. Endpoints on the node are there too.
    pub locality: Arc<Locality>,
    /// The addresses that its kubelet may call its pods from.
    pub addresses: Vec<IpAddr>,
}
