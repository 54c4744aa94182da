//! What crosses a process boundary in Weir, and nothing else: the ports, names, labels and
//! annotations that the injector, the agent, the control plane and people agree on, the
//! [`CaptureSpec`] that travels from the injector to the init container, the xDS types and the protocol
//! of certificates.
//!
//! This crate is a leaf: every other crate may depend on it, it depends on none of them. It is the
//! only one that touches generated xDS code, behind functions that are not generic, so that the
//! others stay quick to build.

pub mod annotations;
pub mod ca;
pub mod capture;
pub mod flows;
pub mod identity;
pub mod inbound_demands;
pub mod inbound_tls;
pub mod mesh_metrics;
pub mod names;
pub mod node;
pub mod ports;
pub mod protocol;
pub mod sidecar;
pub mod spiffe;
pub mod workload;
pub mod xds;

pub use capture::CaptureSpec;
