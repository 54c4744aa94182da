//! Admission of pods: decides whether a pod gets a sidecar, and says as a JSON Patch how the pod
//! looks with one.
//!
//! [`decide`] and [`inject`] are plain functions over raw JSON: no clock, socket or environment,
//! and no typed pod that would drop fields this crate does not know. [`review`] wraps them in an
//! AdmissionReview and [`webhook`] serves that over HTTP; TLS and certificates are the control
//! plane's. Nothing in here remembers a pod, so memory does not grow with the cluster.

mod admission;
mod editor;
mod inject;
mod merge;
mod place;
mod pod;
mod quantity;
mod selector;
mod settings;
mod status;
mod template;
mod uninject;

pub mod config;
pub mod decision;
pub mod document;
pub mod metrics;
pub mod review;
pub mod validate;
pub mod webhook;

pub use config::Config;
pub use decision::{Decision, decide};
pub use inject::{InjectError, Injection, inject};
pub use place::{Cluster, DEFAULT_REVISION, Namespace, Place};
pub use pod::WrongType;
pub use review::{Decided, ReviewError, review};
pub use settings::BadAnnotation;
pub use uninject::uninject;
pub use validate::Validators;
