//! The Helm chart in a real API server: what it renders is accepted, its webhooks are asked about the
//! right pods, and installing, upgrading, rolling back and uninstalling it never blocks others' pods.
//!
//! There are no nodes, so the control plane runs in this process: with the flags of the chart's
//! Deployment and the rights of the chart's ServiceAccount.

#![allow(clippy::unwrap_used)]

mod accepted;
mod asked;
mod bundle;
mod cert_manager;
mod control_plane;
mod document;
mod helm_test;
mod life;
mod outsiders;
mod pinned;
mod release;
mod routes;
mod rules;
