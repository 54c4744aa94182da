//! Listeners without sockets, chosen by original destination; made when they are first used.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use tokio::sync::Notify;

use super::Shared;
use crate::{
    listener::ActiveListener,
    snapshot::{Destination, DestinationListener, Snapshot},
};

/// What a worker knows of an original destination.
pub(super) enum Found {
    /// This listener serves it.
    Listener(Arc<DestinationListener>, Rc<ActiveListener>),
    /// The mesh does not know it.
    Nothing,
    /// Nobody has said.
    Unknown,
}

/// The listeners that were used, by name.
#[derive(Default)]
pub(super) struct Destinations {
    active: RefCell<HashMap<Box<str>, Rc<ActiveListener>>>,
    changed: Notify,
}

// === impl Destinations ===

impl Destinations {
    pub(super) fn find(
        &self,
        snapshot: &Snapshot,
        destination: std::net::SocketAddr,
        shared: &Shared,
    ) -> Found {
        let known = match snapshot.destination(destination) {
            Some(Destination::Present(known)) => known,
            Some(Destination::Absent) => return Found::Nothing,
            None => return Found::Unknown,
        };
        let mut active = self.active.borrow_mut();
        let previous = active.get(known.listener.name.as_str());
        if let Some(listener) = previous
            && Arc::ptr_eq(&listener.config, &known.listener)
        {
            return Found::Listener(Arc::clone(known), Rc::clone(listener));
        }
        let previous = previous.map(|listener| &**listener);
        let listener = Rc::new(ActiveListener::new(
            &known.listener,
            &shared.registry,
            previous,
        ));
        active.insert(known.listener.name.as_str().into(), Rc::clone(&listener));
        Found::Listener(Arc::clone(known), listener)
    }

    /// Lets go of what is gone, drains what has changed, and wakes who waits for an answer.
    pub(super) fn apply(&self, snapshot: &Snapshot) {
        self.active.borrow_mut().retain(|_, listener| {
            let now = snapshot.destinations.get(&listener.config.address);
            let stays = matches!(now, Some(Destination::Present(now))
                if now.listener.name == listener.config.name);
            if !stays {
                listener.drain();
            }
            stays
        });
        self.changed.notify_waiters();
    }

    pub(super) fn drain(&self) {
        self.active
            .borrow()
            .values()
            .for_each(|listener| listener.drain());
    }

    /// Ends at the next change.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
