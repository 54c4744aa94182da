//! What workers ask of the control thread: destinations nobody has told them of.

use std::net::SocketAddr;

use tokio::sync::mpsc;

/// Demands that may wait. A sidecar asks once for a destination, so this many distinct unknown
/// destinations within one round trip is a scan; what does not fit is passed through and counted.
pub const CAPACITY: usize = 1024;

/// A connection went to a destination that the snapshot does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The original destination.
    pub destination: SocketAddr,
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
