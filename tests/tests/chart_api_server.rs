//! The Helm chart in a real API server: what it renders is accepted, its webhooks are asked about the
//! right pods, and installing, upgrading, rolling back and uninstalling it never blocks others' pods.
//!
//! There are no nodes, so the control plane runs in this process: with the flags of the chart's
//! Deployment and the rights of the chart's ServiceAccount.

#![allow(clippy::unwrap_used)]

#[path = "chart_api_server/accepted.rs"]
mod accepted;
#[path = "chart_api_server/asked.rs"]
mod asked;
#[path = "chart_api_server/bundle.rs"]
mod bundle;
#[path = "chart_api_server/cert_manager.rs"]
mod cert_manager;
#[path = "chart_api_server/control_plane.rs"]
mod control_plane;
#[path = "chart_api_server/document.rs"]
mod document;
// Shared with the tests without an API server, which use all of it.
#[allow(dead_code)]
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart_api_server/helm_test.rs"]
mod helm_test;
#[path = "chart_api_server/life.rs"]
mod life;
#[path = "chart_api_server/release.rs"]
mod release;
