//! What clients were told and what they said to it, for people.

use std::{fmt::Debug, net::SocketAddr, sync::Arc};

use serde::Serialize;

use super::{Kind, Resource};

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

/// One client, and resources it was told of.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientDump {
    /// How it stands.
    pub client: ClientStatus,
    /// Of what it was told, that which has not changed since.
    pub latest: Vec<(Kind, Arc<Resource>)>,
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
    /// How it stands with the type as a whole.
    pub state: SyncState,
    /// Resources whose latest version it accepted.
    pub acked: usize,
    /// Resources whose latest version it rejected.
    pub nacked: usize,
    /// Resources it was told of and has not said anything to.
    pub sent: usize,
    /// For how long the oldest response has waited for an answer, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered_ms: Option<u64>,
    /// The latest reason for which it rejected something it still rejects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Resources it was told of, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceState>,
}

/// How a client stands with a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncState {
    /// It was told nothing yet.
    NotSent,
    /// It accepted all it was told.
    Synced,
    /// It has not answered to all it was told.
    Stale,
    /// It rejected some of it, and runs on what it had before.
    Rejected,
}

/// What a client was told of one resource and what it said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceState {
    /// The name.
    pub name: String,
    /// The version it was sent; `None`: that there is none.
    pub version: Option<String>,
    /// The version it accepted last, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// `sent`, `acked` or `nacked`.
    pub state: &'static str,
    /// Why the client rejected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How much a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// How each type stands.
    Types,
    /// How each resource stands, too.
    Resources,
}

/// Something that can say how one client stands.
pub(super) trait Reports: Debug + Send + Sync {
    fn node(&self) -> String;
    fn report(&self, detail: Detail) -> ClientStatus;
}
