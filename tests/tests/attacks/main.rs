//! What a pod can do to the control plane and to a neighbour's sidecar with connections alone, done from
//! other network namespaces to the real programs: beside each attack their own clients are served.

mod admission;
mod control;
mod sidecar;
mod strangers;
mod world;

use std::time::Duration;

/// Far longer than anything takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);
