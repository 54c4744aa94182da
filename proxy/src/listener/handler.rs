//! What the connections of a worker share: listeners without sockets, which are chosen by original
//! destination and made when they are first used, and the log of what has ended.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use tokio::sync::Notify;

use super::ActiveListener;
use crate::{
    connection_log::ConnectionLog,
    demand::{Demand, DemandSender},
    factory_context::FactoryContext,
    net::address::OriginalDst,
    snapshot::{Destination, DestinationListener, Snapshot},
};

/// What the connections of a worker share.
pub(crate) struct ConnectionHandler {
    pub(crate) context: Rc<FactoryContext>,
    pub(crate) log: Arc<ConnectionLog>,
    demands: DemandSender,
    snapshot: RefCell<Arc<Snapshot>>,
    /// The listeners that were used, by name.
    destinations: RefCell<HashMap<Box<str>, Rc<ActiveListener>>>,
    changed: Notify,
}

/// What is known of an original destination.
enum Found {
    /// This listener serves it.
    Listener(Arc<DestinationListener>, Rc<ActiveListener>),
    /// The mesh does not know it.
    Nothing,
    /// Nobody has said.
    Unknown,
}

// === impl ConnectionHandler ===

impl ConnectionHandler {
    pub(crate) fn new(
        snapshot: &Arc<Snapshot>,
        context: Rc<FactoryContext>,
        demands: DemandSender,
        log: Arc<ConnectionLog>,
    ) -> Self {
        Self {
            context,
            log,
            demands,
            snapshot: RefCell::new(Arc::clone(snapshot)),
            destinations: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// Lets go of what is gone, drains what has changed, and wakes who waits for an answer.
    pub(crate) fn apply(&self, snapshot: &Arc<Snapshot>) {
        *self.snapshot.borrow_mut() = Arc::clone(snapshot);
        self.destinations.borrow_mut().retain(|_, listener| {
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

    /// Tells clients of all listeners without sockets to go elsewhere.
    pub(crate) fn drain(&self) {
        self.destinations
            .borrow()
            .values()
            .for_each(|listener| listener.drain());
    }

    /// The listener for an original destination, asked for if need be; none if `from` itself is
    /// to serve the connection.
    pub(super) async fn destination(
        &self,
        destination: OriginalDst,
        from: &ActiveListener,
    ) -> Option<(Arc<DestinationListener>, Rc<ActiveListener>)> {
        match self.find(destination) {
            Found::Listener(known, listener) => return Some((known, listener)),
            Found::Nothing => return None,
            Found::Unknown => {}
        }
        let on_demand = from.config.on_demand?;
        let demand = Demand::Destination(destination.0);
        let asked = self.demands.try_send(demand).is_ok();
        if !asked || !self.snapshot.borrow().discovery_available {
            from.stats.on_demand_timeout.inc();
            return None;
        }
        let answer = async {
            loop {
                self.changed.notified().await;
                match self.find(destination) {
                    Found::Listener(known, listener) => return Some((known, listener)),
                    Found::Nothing => return None,
                    Found::Unknown => {}
                }
            }
        };
        // On the heap: most destinations are known, and a connection need not hold memory to ask.
        let answer = Box::pin(tokio::time::timeout(on_demand.timeout, answer)).await;
        answer.unwrap_or_else(|_| {
            from.stats.on_demand_timeout.inc();
            None
        })
    }

    fn find(&self, destination: OriginalDst) -> Found {
        let snapshot = self.snapshot.borrow();
        let known = match snapshot.destination(destination.0) {
            Some(Destination::Present(known)) => known,
            Some(Destination::Absent) => return Found::Nothing,
            None => return Found::Unknown,
        };
        let mut active = self.destinations.borrow_mut();
        let name = known.listener.name.as_str();
        let previous = active.get(name);
        if let Some(listener) = previous
            && Arc::ptr_eq(&listener.config, &known.listener)
        {
            return Found::Listener(Arc::clone(known), Rc::clone(listener));
        }
        let previous = previous.map(|listener| &**listener);
        let listener = ActiveListener::new(&known.listener, &self.context, previous);
        let listener = Rc::new(listener);
        active.insert(name.into(), Rc::clone(&listener));
        Found::Listener(Arc::clone(known), listener)
    }
}
