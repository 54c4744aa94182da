//! The Helm chart, rendered by real Helm: what it makes of its values, which values it refuses, and that
//! what it renders fits itself, the control plane and the Kubernetes API.

#![allow(clippy::unwrap_used)]

mod dashboard;
mod fit;
mod golden;
mod image;
mod reach;
mod refused;
mod rule_kinds;
mod selector;
mod strict;
