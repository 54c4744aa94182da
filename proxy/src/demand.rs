//! What workers ask of the control thread: destinations nobody has told them of, and whose an address
//! is.

use std::net::{IpAddr, SocketAddr};

use tokio::sync::mpsc;

/// Demands that may wait. A sidecar asks once for a destination, so this many distinct unknown
/// destinations within one round trip is a scan; what does not fit is passed through and counted.
pub const CAPACITY: usize = 1024;

/// What the snapshot does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// An original destination that a connection went to.
    Destination(SocketAddr),
    /// The workload at the other end of a connection, for metrics.
    Workload(IpAddr),
}

/// The end the workers hold.
pub type DemandSender = mpsc::Sender<Demand>;
/// The end the control thread holds.
pub type DemandReceiver = mpsc::Receiver<Demand>;

/// A new pair.
#[must_use]
pub fn channel() -> (DemandSender, DemandReceiver) {
    mpsc::channel(CAPACITY)
}
