//! Hosts of an `ORIGINAL_DST` cluster: made on first use, forgotten when they hold nothing.

mod destination;

use std::{
    cell::RefCell, collections::HashMap, net::SocketAddr, rc::Rc, sync::Arc, time::Duration,
};

use tokio::time::Instant;

use super::Host;
use crate::config::endpoint::Endpoint;

pub(crate) use destination::Said;

/// Hosts remembered at most. Only those with pooled connections are worth remembering; beyond
/// this, a host serves its request and is gone.
const CAPACITY: usize = 1024;

/// The hosts that were used lately.
#[derive(Default)]
pub(super) struct Hosts(RefCell<HashMap<SocketAddr, Rc<Host>>>);

// === impl Hosts ===

impl Hosts {
    /// The host at `address`.
    pub(super) fn host(&self, address: SocketAddr) -> Rc<Host> {
        let mut hosts = self.0.borrow_mut();
        if let Some(host) = hosts.get(&address) {
            return Rc::clone(host);
        }
        let host = Rc::new(Host::new(&Arc::new(Endpoint::at(address)), (0, 0)));
        if hosts.len() >= CAPACITY {
            hosts.retain(|_, host| in_use(host));
        }
        if hosts.len() < CAPACITY {
            hosts.insert(address, Rc::clone(&host));
        }
        host
    }

    /// As [`Host::retire`], all of them.
    pub(super) fn retire(&self) {
        self.0.take().into_values().for_each(|host| host.retire());
    }

    /// As [`Host::close_idle`], of any.
    pub(super) fn close_idle(&self) -> bool {
        self.0.borrow().values().any(|host| host.close_idle())
    }

    /// As [`Host::reap`], and forgets hosts that hold nothing.
    pub(super) fn reap(&self, now: Instant, idle_timeout: Option<Duration>) -> usize {
        let mut hosts = self.0.borrow_mut();
        let left = hosts
            .values()
            .map(|host| host.reap(now, idle_timeout))
            .sum();
        hosts.retain(|_, host| in_use(host));
        left
    }
}

fn in_use(host: &Rc<Host>) -> bool {
    Rc::strong_count(host) > 1 || host.active() > 0 || host.holds_connections()
}
