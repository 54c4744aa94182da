//! The Helm chart, rendered by real Helm: what it makes of its values, which values it refuses, and that
//! what it renders fits itself, the control plane and the Kubernetes API.

#![allow(clippy::unwrap_used)]

#[path = "chart/dashboard.rs"]
mod dashboard;
#[path = "chart/fit.rs"]
mod fit;
#[path = "chart/golden.rs"]
mod golden;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/image.rs"]
mod image;
#[path = "chart/reach.rs"]
mod reach;
#[path = "chart/refused.rs"]
mod refused;
#[path = "chart/selector.rs"]
mod selector;
#[path = "chart/strict.rs"]
mod strict;
