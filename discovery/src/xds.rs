//! The model in the words of Envoy's xDS v3, served over ADS.
//!
//! [`Generator`] is pure: a snapshot and a resource's name give the resource. [`Hub`] knows who
//! subscribed to what and builds a resource once for all of them; a session per stream decides what
//! that client has to be told; [`AdsServer`] carries it over gRPC.

mod build;
mod generator;
mod hub;
mod mailbox;
mod mesh_config;
mod metrics;
mod names;
mod resource;
mod server;
mod session;
mod status;
mod view;

pub use generator::{Generator, Settings};
pub use hub::Hub;
pub use mesh_config::{AccessLog, LoadBalancer, MeshConfig, OutboundMode, OutboundTrafficPolicy};
pub use metrics::{CONVERGENCE_BOUNDS, Counts, KindCounts, Metrics};
pub use names::Kind;
pub use resource::{Resource, Version};
pub use server::{AdsServer, serve_connection};
pub use status::{ClientStatus, HubStatus, ResourceState, TypeStatus};
pub use view::{Client, Scope, View};
