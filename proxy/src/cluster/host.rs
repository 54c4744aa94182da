//! Endpoints of a cluster in one worker.

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::time::Instant;
use weir_api::workload::Workload;

use super::{
    health::{HealthFlags, HostHealth},
    http2::Http2Pool,
    pool::Idle,
};
use crate::config::endpoint::Endpoint;

/// An endpoint.
pub struct Host {
    pub(crate) address: SocketAddr,
    /// All of its addresses, where it has several.
    pub(super) addresses: Option<Arc<[SocketAddr]>>,
    /// For `auto_host_rewrite`; may be empty.
    pub(crate) hostname: Box<str>,
    pub(crate) weight: u32,
    /// 0 is used first.
    pub(super) priority: u32,
    /// What discovery says of it.
    said: HealthFlags,
    /// What is learnt of it, by whatever worker.
    learnt: Option<Arc<HostHealth>>,
    /// What stands for it on a hash ring; its address by default.
    pub(super) hash_key: Option<Box<str>>,
    /// It stands in where nobody knows an endpoint.
    pub(super) last_resort: bool,
    /// One of our sidecars stands before it, so that what it says of a request is so.
    pub(crate) sidecar: bool,
    /// Who is behind it.
    pub(crate) workload: Option<Arc<Workload>>,
    /// What chooses among the transport sockets of its cluster.
    pub(super) transport_socket_match: Option<Arc<Map<String, Value>>>,
    /// The name that its connections ask for, where that goes by the request.
    pub(super) server_name: Option<Box<str>>,
    /// Shared with the host's next version, so that an update of its weight loses nothing.
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Requests and raw connections in flight, whatever name they ask for.
    active: Rc<Cell<u32>>,
    /// The same endpoint by the names that it was asked for.
    named: RefCell<HashMap<Box<str>, Rc<Host>>>,
    /// Connections without a request.
    idle: RefCell<Vec<Idle>>,
    /// Connections that requests share.
    http2: Http2Pool,
    /// Nothing is to be pooled any more. Pooled connections hold their host and their cluster, so
    /// these live until they are retired.
    retired: Cell<bool>,
    /// It has answered in HTTP, where that is known of a host rather than of its cluster.
    spoke_http: Cell<bool>,
}

/// Hosts at which a request or a connection has failed.
#[derive(Default)]
pub struct Tried(
    // A pointer's size in every connection's future: few of them fail anywhere.
    #[expect(clippy::box_collection, reason = "the future holds it all its life")]
    Option<Box<Vec<Rc<Host>>>>,
);

/// Idle HTTP/1 connections of a host that are kept for as long as the cluster says.
const SPARE: usize = 16;
/// How long further ones are kept: a burst leaves many, which hold memory here and at the endpoint.
const SURPLUS_IDLE: Duration = Duration::from_secs(20);
/// Names that an endpoint keeps connections for. Beyond these, a connection serves one request.
const MAX_NAMES: usize = 256;

// === impl Host ===

impl Host {
    pub(crate) fn new(endpoint: &Endpoint, priority: u32) -> Self {
        Self {
            address: endpoint.address,
            priority,
            addresses: endpoint.addresses.clone(),
            hostname: endpoint.hostname.as_str().into(),
            weight: endpoint.weight.max(1),
            said: HealthFlags::of(endpoint.health),
            learnt: None,
            hash_key: endpoint.hash_key.clone(),
            last_resort: endpoint.last_resort,
            sidecar: endpoint.sidecar,
            workload: endpoint.workload.clone(),
            transport_socket_match: endpoint.transport_socket_match.clone(),
            server_name: None,
            shared: Rc::default(),
        }
    }

    /// The same endpoint, with connections of its own that ask for `name`.
    pub(crate) fn named(&self, name: &str) -> Rc<Self> {
        if let Some(known) = self.shared.named.borrow().get(name) {
            return Rc::clone(known);
        }
        let shared = Shared {
            active: Rc::clone(&self.shared.active),
            ..Shared::default()
        };
        let host = Rc::new(Self {
            addresses: self.addresses.clone(),
            hostname: self.hostname.clone(),
            hash_key: self.hash_key.clone(),
            workload: self.workload.clone(),
            transport_socket_match: self.transport_socket_match.clone(),
            learnt: self.learnt.clone(),
            server_name: Some(name.into()),
            shared: Rc::new(shared),
            ..*self
        });
        let mut named = self.shared.named.borrow_mut();
        if named.len() >= MAX_NAMES {
            named.retain(|_, host| host.is_in_use());
        }
        if named.len() < MAX_NAMES && !self.is_retired() {
            named.insert(name.into(), Rc::clone(&host));
        } else {
            // It serves its request, and pools nothing.
            host.retire();
        }
        host
    }

    /// From now on its health is what is learnt, too.
    pub(super) fn learn(&mut self, learnt: Option<Arc<HostHealth>>) {
        self.learnt = learnt;
    }

    /// What is learnt of it; none where nothing is.
    pub(super) fn learnt(&self) -> Option<&HostHealth> {
        self.learnt.as_deref()
    }

    /// Whether what comes of its attempts matters to anybody.
    pub(crate) fn is_watched(&self) -> bool {
        self.learnt.is_some()
    }

    /// All that keeps traffic from it.
    pub(super) fn flags(&self) -> HealthFlags {
        self.said.and(self.learnt().map(HostHealth::flags))
    }

    /// Takes over connections and counts of the same endpoint as it was before.
    pub(super) fn continue_as(&mut self, before: &Self) {
        self.shared = Rc::clone(&before.shared);
    }

    /// Whether it is the same endpoint, with the same connections.
    pub(super) fn continues(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    fn is_in_use(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1 || self.holds_connections()
    }

    /// Requests and raw connections in flight.
    pub(crate) fn active(&self) -> u32 {
        self.shared.active.get()
    }

    pub(super) fn add_active(&self, change: i32) {
        self.shared
            .active
            .set(self.shared.active.get().saturating_add_signed(change));
    }

    /// Connections without a request, the one used last at the end.
    pub(super) fn idle(&self) -> RefMut<'_, Vec<Idle>> {
        self.shared.idle.borrow_mut()
    }

    /// Connections that requests share.
    pub(super) fn http2(&self) -> &Http2Pool {
        &self.shared.http2
    }

    /// Whether it has pooled connections of either kind.
    pub(super) fn holds_connections(&self) -> bool {
        let named = self.shared.named.borrow();
        !self.shared.idle.borrow().is_empty()
            || !self.shared.http2.is_empty()
            || named.values().any(|host| host.holds_connections())
    }

    pub(super) fn spoke_http(&self) -> bool {
        self.shared.spoke_http.get()
    }

    pub(super) fn note_http(&self) {
        self.shared.spoke_http.set(true);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.shared.retired.get()
    }

    /// Closes pooled connections, now and as they come back.
    pub(super) fn retire(&self) {
        self.shared.retired.set(true);
        let idle = self.shared.idle.take();
        drop(idle);
        self.shared.http2.retire();
        let named = self.shared.named.take();
        named.values().for_each(|host| host.retire());
    }

    /// Closes pooled connections that are spent or idle for too long. Returns how many are left.
    pub(super) fn reap(&self, now: Instant, idle_timeout: Option<Duration>) -> usize {
        let mut idle = self.idle();
        // The one used last is at the end.
        let mut surplus = idle.len().saturating_sub(SPARE);
        idle.retain_mut(|connection| {
            let is_surplus = surplus > 0;
            surplus = surplus.saturating_sub(1);
            connection.is_usable(now, idle_timeout)
                && !(is_surplus && connection.is_unused_for(SURPLUS_IDLE, now))
        });
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
        let mut left = idle.len() + self.shared.http2.reap(now, idle_timeout);
        drop(idle);
        self.shared.named.borrow_mut().retain(|_, host| {
            left += host.reap(now, idle_timeout);
            host.is_in_use()
        });
        left
    }
}

// === impl Tried ===

impl Tried {
    pub(crate) fn note(&mut self, host: Rc<Host>) {
        if !self.has(&host) {
            self.0.get_or_insert_default().push(host);
        }
    }

    pub(super) fn has(&self, host: &Host) -> bool {
        let mut tried = self.0.iter().flat_map(|hosts| hosts.iter());
        tried.any(|tried| tried.address == host.address)
    }
}
