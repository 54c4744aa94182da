//! What strangers can do to a sidecar's data plane with what they send, done to the program itself: its
//! memory stays bounded, and beside each attack a client is served. The same is done to real Envoy where
//! there is one, and what comes of it is printed.
#![allow(clippy::print_stdout)]

#[path = "../beside_envoy/proxies.rs"]
#[allow(dead_code, reason = "shared with beside_envoy")]
mod proxies;

mod endpoint;
mod heads;
mod overload;
mod streams;
mod target;

use std::time::Duration;

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);
