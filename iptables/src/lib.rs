//! Capture: which connections of a pod go through the sidecar, as iptables rules.
//!
//! The middle is pure: [`RuleSet::new`] turns a [`weir_api::CaptureSpec`] into rules,
//! [`transaction::Plan`] compares them with what `iptables-save` printed and writes the text of one
//! transaction. Around it, [`apply()`] finds the backend that works, puts the rules in force and
//! proves by a real connection that they act; [`cleanup()`] takes out everything of ours.
//!
//! All of ours is in chains that begin with `WEIR_`, reached by one jump from each of the kernel's
//! chains that is needed. What others made is never touched.
//!
//! It works in the network namespace of the calling thread, and knows nothing of pods.

pub mod address;
pub mod apply;
pub mod backend;
pub mod diagnose;
pub mod family;
pub mod host_network;
pub mod rule;
pub mod rules;
pub mod saved;
pub mod transaction;
pub mod verify;

pub use apply::{ApplyError, HostNetwork, Options, Report, apply, cleanup};
pub use backend::Backend;
pub use family::Family;
pub use rules::RuleSet;
