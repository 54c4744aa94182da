//! Pods as network namespaces on one machine: what `weir demo` and the tests run on.
//!
//! The playground plays the parts of Kubernetes that a mesh leans on, with nothing of the machine
//! changed but a few named network namespaces that are gone afterwards:
//!
//! - the network: [`node`] is a namespace that routes between pods, rewrites Service addresses as
//!   kube-proxy does ([`service_rules`]) and answers DNS ([`dns`]);
//! - the API server: [`manifest`] reads objects, [`cluster`] makes pods of workloads, sends them
//!   through the admission webhook and writes the live objects where the control plane reads them;
//! - the kubelet: [`kubelet`] runs a pod's containers, each in a [`container`] with the user,
//!   capabilities, files and environment its spec asks for.
//!
//! It is not a container runtime: containers share the machine's programs and libraries, and images
//! are never pulled. [`image`] says what runs in place of an image.

pub mod address;
pub mod admin;
pub mod cluster;
pub mod command;
pub mod container;
pub mod dns;
pub mod error;
pub mod image;
pub mod kubelet;
pub mod manifest;
pub mod netns;
pub mod node;
pub mod playground;
pub mod run;
pub mod service_rules;

pub use error::Error;
pub use playground::{Options, Playground};

/// Kubernetes' own types that appear in this crate's interface.
pub mod k8s {
    pub use k8s_openapi::api::core::v1::{Container, Namespace, Service};
}
