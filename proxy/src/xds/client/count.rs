//! Stats of what the control plane changes.

use std::net::SocketAddr;

use super::{
    super::{Kind, change::Change, resource::Resource},
    Context,
};
use crate::{
    snapshot::{Destination, Snapshot},
    stats::Counter,
};
// === impl Context ===

impl Context {
    /// Counts what is about to change of `snapshot`.
    pub(super) fn count(&self, changes: &[Change], snapshot: &Snapshot) {
        let (listeners, clusters) = (&self.listeners, &self.clusters);
        let set = |added: &Counter, modified: &Counter, is_known: bool| {
            if is_known {
                modified.inc();
            } else {
                added.inc();
            }
        };
        let is_present = |address: &SocketAddr| {
            matches!(
                snapshot.destinations.get(address),
                Some(Destination::Present(_))
            )
        };
        let set_listener = |is_known| {
            set(
                &listeners.listener_added,
                &listeners.listener_modified,
                is_known,
            );
        };
        for change in changes {
            match change {
                Change::Set(name, Resource::Cluster(_)) => {
                    let is_known = snapshot.clusters.contains_key(name);
                    set(
                        &clusters.cluster_added,
                        &clusters.cluster_modified,
                        is_known,
                    );
                }
                Change::Set(name, Resource::Listener(_)) => {
                    set_listener(snapshot.listeners.contains_key(name));
                }
                Change::Set(_, Resource::Destination(listener)) => {
                    set_listener(is_present(&listener.address));
                }
                Change::Destination(address, Destination::Present(_)) => {
                    set_listener(is_present(address));
                }
                Change::Remove(Kind::Cluster, _) => clusters.cluster_removed.inc(),
                Change::Remove(Kind::Listener, _) => listeners.listener_removed.inc(),
                Change::Forget(address) | Change::Destination(address, Destination::Absent) => {
                    listeners
                        .listener_removed
                        .add(u64::from(is_present(address)));
                }
                Change::Set(..) | Change::Remove(..) | Change::Warm(..) | Change::EndWarming(_) => {
                }
            }
        }
    }
}
