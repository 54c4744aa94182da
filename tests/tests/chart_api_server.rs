//! The Helm chart in a real API server: what it renders is accepted, its webhooks are asked about the
//! right pods, and what the control plane writes into them stays.

#![allow(clippy::unwrap_used)]

#[path = "chart_api_server/accepted.rs"]
mod accepted;
#[path = "chart_api_server/asked.rs"]
mod asked;
#[path = "chart_api_server/bundle.rs"]
mod bundle;
// Shared with the tests without an API server, which use all of it.
#[allow(dead_code)]
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart_api_server/release.rs"]
mod release;
