//! What clients were told and what they said to it, for people.

use std::{fmt::Debug, net::SocketAddr};

use serde::Serialize;

/// All clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HubStatus {
    /// Names somebody subscribed to.
    pub topics: usize,
    /// The clients.
    pub clients: Vec<ClientStatus>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubSizes {
    /// Connected clients.
    pub clients: usize,
    /// Names somebody subscribed to.
    pub topics: usize,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientStatus {
    /// Its `node.id`.
    pub node: String,
    /// The other end of its connection.
    pub peer: Option<SocketAddr>,
    /// Namespace and service account of its token, where one is asked for.
    pub identity: Option<String>,
    /// Which protocol variant it speaks: `delta` or `sotw`.
    pub protocol: &'static str,
    /// How long it has been connected, seconds.
    pub connected_s: u64,
    /// What it subscribed to, by type.
    pub types: Vec<TypeStatus>,
    /// What it did that it should not.
    pub faults: Vec<FaultStatus>,
}

/// Something a client did that it should not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultStatus {
    /// What, as [`super::Fault::word`] has it.
    pub what: &'static str,
    /// How often.
    pub times: u64,
    /// The last time, more exactly.
    pub last: String,
}

/// The subscription of one client to one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeStatus {
    /// The type, as [`super::Kind::word`] has it.
    pub kind: &'static str,
    /// Whether it subscribed to everything.
    pub wildcard: bool,
    /// How many names it subscribed to.
    pub subscribed: usize,
    /// Resources it was told of.
    pub resources: Vec<ResourceState>,
}

/// What a client was told of one resource and what it said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceState {
    /// The name.
    pub name: String,
    /// The version it was sent; `None`: that there is none.
    pub version: Option<String>,
    /// `sent`, `acked` or `nacked`.
    pub state: &'static str,
    /// Why the client rejected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something that can say how one client stands.
pub(super) trait Reports: Debug + Send + Sync {
    fn report(&self) -> ClientStatus;
}
