//! Programs: [`command`] runs those of others, `exit` says how ours end.

pub mod command;
#[cfg(feature = "exit")]
pub mod exit;
