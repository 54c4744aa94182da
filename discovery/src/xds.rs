//! The model in the words of Envoy's xDS v3, served over ADS.
//!
//! [`Generator`] is pure: a snapshot and a resource's name give the resource. [`Hub`] knows who
//! subscribed to what and builds a resource once for all of them; a session per stream decides what
//! that client has to be told; [`AdsServer`] carries it over gRPC.

mod auth;
mod build;
mod extension_provider;
mod generator;
mod hub;
mod limits;
mod mailbox;
mod mesh_config;
mod metrics;
mod names;
mod resource;
mod secrets;
mod server;
mod session;
mod status;
mod topology;
mod view;

pub use auth::{AuthError, Authenticator, Identity, Peer, identify};
pub use extension_provider::{ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider, RequestBody, Timeout};
pub use generator::{Generator, Settings};
pub use hub::Hub;
pub use limits::Limits;
pub use mesh_config::{AccessLog, LoadBalancer, MeshConfig, OutboundMode, OutboundTrafficPolicy};
pub use metrics::{Counts, Fault, Histogram, KindCounts, Metrics, TIME_BOUNDS};
pub use names::Kind;
pub use resource::{Resource, Version};
pub use secrets::ROOT_CA;
pub use server::{AdsServer, serve_connection, serve_connection_with};
pub use status::{
    ClientDump, ClientStatus, FaultStatus, HubSizes, HubStatus, ResourceState, SyncState,
    TypeStatus,
};
pub use view::{Client, Scope, View};
