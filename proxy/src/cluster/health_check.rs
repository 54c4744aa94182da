//! Active health checks. Each host has a [`Session`], which knows what its checks came to, and a
//! probe, which asks. They run on the control thread; what they learn goes into the one state of
//! health that a host has. Thresholds, order and intervals are Envoy's.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking>

mod client;
mod event;
mod grpc;
mod http;
mod io;
mod keeper;
mod payload;
mod probe;
mod session;
mod stats;
mod tcp;

pub(crate) use keeper::{Surroundings, keep};
pub(super) use stats::HealthCheckStats;
