//! The control plane: injector, discovery, certificates and debug endpoints in one process. This
//! crate composes the libraries and owns sockets, certificates, signals and exit codes.

pub mod certificates;
pub mod config;
mod configuration;
mod debug;
pub mod error;
mod guards;
mod health;
mod issuer;
mod kubernetes;
mod run;
mod serve;
mod service_account;
pub mod webhook;

pub use config::{Config, DebugFrom};
pub use error::ControlError;
pub use run::{run, run_until_signal};
pub use serve::Bound;
