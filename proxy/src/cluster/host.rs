//! Endpoints of a cluster in one worker.

use std::{
    cell::{Cell, OnceCell, RefCell, RefMut},
    collections::HashMap,
    ops::Deref,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{sync::Notify, time::Instant};

use super::{
    health::{HealthFlags, HostHealth},
    http2::Http2Pool,
    pool::Idle,
};
use crate::{
    config::{endpoint::Endpoint, subset::MetadataMatch},
    info::UpstreamPeer,
    net::proxy_header::Client,
};

/// An endpoint. What discovery says of it is shared with other workers, and read as if it were its own.
pub struct Host {
    endpoint: Arc<Endpoint>,
    /// What is learnt of it, by whatever worker.
    learnt: Option<Arc<HostHealth>>,
    /// Shared with the host's next version, so that an update of its weight loses nothing.
    shared: Rc<Shared>,
    /// The name that its connections ask for, where that goes by the request.
    named: Option<Box<Named>>,
    /// 0 is used first.
    pub(super) priority: u32,
    /// Which of the localities that discovery lists.
    pub(super) locality: u32,
}

/// An endpoint as it is asked for by one name.
struct Named {
    name: Option<Box<str>>,
    /// Whom its connections are for, and whom that has called, where the endpoint is told.
    client: Option<Rc<Client>>,
    /// The endpoint's own, which has its counts.
    of: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Requests and raw connections in flight, whatever name they ask for.
    active: Cell<u32>,
    /// Nothing is to be pooled any more. Pooled connections hold their host and their cluster, so
    /// these live until they are retired.
    retired: Cell<bool>,
    /// How often it had become unhealthy when its connections were last closed for that.
    failures: Cell<u32>,
    /// It has answered in HTTP, where that is known of a host rather than of its cluster.
    spoke_http: Cell<bool>,
    /// Its last handshake has decided for HTTP/1.1, where handshakes decide.
    http1_only: Cell<bool>,
    /// Made for the first connection: of many hosts a worker uses few.
    pools: OnceCell<Box<Pools>>,
}

/// Connections of a host.
#[derive(Default)]
struct Pools {
    /// Who is behind it, once somebody has asked.
    peer: RefCell<Option<Rc<UpstreamPeer>>>,
    /// The same endpoint by the names that it was asked for.
    named: RefCell<HashMap<Box<str>, Rc<Host>>>,
    /// Connections of every kind, from their dial on.
    connections: Cell<u32>,
    /// A connection has come free or is gone; made where somebody waits for one.
    freed: OnceCell<Box<Notify>>,
    /// Connections without a request.
    idle: RefCell<Vec<Idle>>,
    /// Connections that requests share.
    http2: Http2Pool,
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
/// Hosts that are remembered as tried: more attempts than anybody waits for.
const MAX_TRIED: usize = 64;
/// Names that an endpoint keeps connections for. Beyond these, a connection serves one request.
const MAX_NAMES: usize = 256;

// === impl Host ===

impl Host {
    /// `place`: its priority, and which of the localities that discovery lists.
    pub(crate) fn new(endpoint: &Arc<Endpoint>, (priority, locality): (u32, u32)) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            priority,
            locality,
            learnt: None,
            named: None,
            shared: Rc::default(),
        }
    }

    /// The same endpoint, with connections of its own that ask for `name`.
    pub(crate) fn named(&self, name: &str) -> Rc<Self> {
        let named = self.named.as_ref();
        let client = named.and_then(|named| named.client.clone());
        self.apart(name, Some(name.into()), client)
    }

    /// The same endpoint, with connections of its own that are for one client.
    pub(super) fn of_client(&self, client: &Rc<Client>) -> Rc<Self> {
        let name = self.server_name().map(Into::into);
        let (source, called) = client.ends;
        self.apart(&format!("{source} {called}"), name, Some(Rc::clone(client)))
    }

    fn apart(&self, key: &str, name: Option<Box<str>>, client: Option<Rc<Client>>) -> Rc<Self> {
        let pools = self.shared.pools();
        if let Some(known) = pools.named.borrow().get(key) {
            return Rc::clone(known);
        }
        let of = self.named.as_ref().map_or(&self.shared, |named| &named.of);
        let named = Named {
            name,
            client,
            of: Rc::clone(of),
        };
        let host = Rc::new(Self {
            endpoint: Arc::clone(&self.endpoint),
            learnt: self.learnt.clone(),
            shared: Rc::default(),
            named: Some(Box::new(named)),
            ..*self
        });
        let mut named = pools.named.borrow_mut();
        if named.len() >= MAX_NAMES {
            named.retain(|_, host| host.is_in_use());
        }
        if named.len() < MAX_NAMES && !self.is_retired() {
            named.insert(key.into(), Rc::clone(&host));
        } else {
            // It serves its request, and pools nothing.
            host.retire();
        }
        host
    }

    /// Who is behind it, if anybody says.
    pub(crate) fn peer(&self) -> Option<Rc<UpstreamPeer>> {
        let workload = self.workload.as_ref()?;
        let mut known = self.shared.pools().peer.borrow_mut();
        let peer = known.take_if(|peer| Arc::ptr_eq(&peer.workload, workload));
        let peer = peer.unwrap_or_else(|| Rc::new(UpstreamPeer::new(Arc::clone(workload))));
        *known = Some(Rc::clone(&peer));
        Some(peer)
    }

    /// The name that its connections ask for, where that goes by the request.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.named.as_ref()?.name.as_deref()
    }

    /// Whom its connections are for, and whom that has called, where the endpoint is told.
    pub(super) fn client(&self) -> Option<&Client> {
        self.named.as_ref()?.client.as_deref()
    }

    /// Whether nothing that discovery says of it, nor where what is learnt of it is kept, has changed.
    pub(super) fn is(
        &self,
        endpoint: &Arc<Endpoint>,
        place: (u32, u32),
        learnt: &Option<Arc<HostHealth>>,
    ) -> bool {
        (self.priority, self.locality) == place
            && (Arc::ptr_eq(&self.endpoint, endpoint) || self.endpoint == *endpoint)
            && self.learnt.as_ref().map(Arc::as_ptr) == learnt.as_ref().map(Arc::as_ptr)
            && !self.is_retired()
    }

    /// Whether what balancers look at in its metadata has these values. `list_as_any`: where it has a
    /// list, one of its values is enough.
    pub(super) fn has_metadata(&self, wanted: &Map<String, Value>, list_as_any: bool) -> bool {
        let has = |(key, wanted): (&String, &Value)| match self
            .lb_metadata
            .as_ref()
            .and_then(|all| all.get(key))
        {
            Some(Value::Array(values)) if list_as_any => values.contains(wanted),
            found => found == Some(wanted),
        };
        wanted.iter().all(has)
    }

    /// Whether it has what a route wants.
    pub(crate) fn fits(&self, wanted: &MetadataMatch) -> bool {
        let metadata = self.lb_metadata.as_deref();
        let mut criteria = wanted.criteria().iter();
        criteria.all(|one| metadata.is_some_and(|all| all.get(&*one.name) == Some(&one.value)))
    }

    /// From now on its health is what is learnt, too.
    pub(super) fn learn(&mut self, learnt: Option<Arc<HostHealth>>) {
        self.learnt = learnt;
    }

    /// What is learnt of it; none where nothing is.
    pub(super) fn learnt(&self) -> Option<&HostHealth> {
        self.learnt.as_deref()
    }

    /// What says when its connections are to be closed for its health; none: never.
    pub(crate) fn closes_with_health(&self, cluster: &super::Cluster) -> Option<Arc<HostHealth>> {
        let closes = cluster.config.host_changes.close_on_health_failure;
        self.learnt.as_ref().filter(|_| closes).map(Arc::clone)
    }

    /// Whether what comes of its attempts matters to anybody.
    pub(crate) fn is_watched(&self) -> bool {
        self.learnt.is_some()
    }

    /// All that keeps traffic from it.
    pub(super) fn flags(&self) -> HealthFlags {
        let said = HealthFlags::of(self.health);
        said.and(self.learnt().map(HostHealth::flags))
    }

    /// Takes over connections and counts of the same endpoint as it was before.
    pub(super) fn continue_as(&mut self, before: &Self) {
        self.shared = Rc::clone(&before.shared);
    }

    #[cfg(test)]
    /// Whether it is the same endpoint, with the same connections.
    pub(super) fn continues(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    fn is_in_use(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1 || self.holds_connections()
    }

    /// Requests and raw connections in flight.
    pub(crate) fn active(&self) -> u32 {
        self.counts().active.get()
    }

    pub(super) fn add_active(&self, change: i32) {
        let active = &self.counts().active;
        active.set(active.get().saturating_add_signed(change));
    }

    fn counts(&self) -> &Shared {
        self.named.as_ref().map_or(&self.shared, |named| &named.of)
    }

    /// Whether a connection is there, or being made.
    pub(super) fn is_connected(&self) -> bool {
        let pools = self.shared.pools.get();
        pools.is_some_and(|pools| pools.connections.get() > 0)
    }

    pub(super) fn add_connections(&self, change: i32) {
        let connections = &self.shared.pools().connections;
        connections.set(connections.get().saturating_add_signed(change));
        if change < 0 {
            self.notify();
        }
    }

    /// One who waits for a connection looks again.
    pub(super) fn notify(&self) {
        let pools = self.shared.pools.get();
        if let Some(freed) = pools.and_then(|pools| pools.freed.get()) {
            freed.notify_one();
        }
    }

    /// Until a connection comes free or goes.
    pub(super) async fn freed(&self) {
        let freed = &self.shared.pools().freed;
        freed.get_or_init(Box::default).notified().await;
    }

    /// Connections without a request, the one used last at the end.
    pub(super) fn idle(&self) -> RefMut<'_, Vec<Idle>> {
        self.shared.pools().idle.borrow_mut()
    }

    /// Connections that requests share.
    pub(super) fn http2(&self) -> &Http2Pool {
        &self.shared.pools().http2
    }

    /// Whether it has pooled connections of either kind.
    pub(super) fn holds_connections(&self) -> bool {
        self.shared.pools.get().is_some_and(|pools| {
            let named = pools.named.borrow();
            !pools.idle.borrow().is_empty()
                || !pools.http2.is_empty()
                || named.values().any(|host| host.holds_connections())
        })
    }

    pub(super) fn spoke_http(&self) -> bool {
        self.shared.spoke_http.get()
    }

    pub(super) fn note_http(&self) {
        self.shared.spoke_http.set(true);
    }

    /// Whether its last handshake has decided for HTTP/1.1, where handshakes decide.
    pub(super) fn is_http1_only(&self) -> bool {
        self.shared.http1_only.get()
    }

    pub(super) fn set_http1_only(&self, is_so: bool) {
        self.shared.http1_only.set(is_so);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.shared.retired.get()
    }

    /// Closes pooled connections, now and as they come back.
    pub(super) fn retire(&self) {
        self.shared.retired.set(true);
        self.drain();
        if let Some(pools) = self.shared.pools.get() {
            let named = pools.named.take();
            named.values().for_each(|host| host.retire());
        }
    }

    /// Closes pooled connections once if it has become unhealthy: the next ones may fare better.
    pub(super) fn heed_failures(&self) {
        let failures = self.learnt().map_or(0, HostHealth::failures);
        if self.shared.failures.replace(failures) != failures {
            self.drain();
            if let Some(pools) = self.shared.pools.get() {
                let named = pools.named.borrow();
                named.values().for_each(|host| host.drain());
            }
        }
    }

    fn drain(&self) {
        if let Some(pools) = self.shared.pools.get() {
            let idle = pools.idle.take();
            drop(idle);
            pools.http2.retire();
        }
    }

    /// Closes a connection that carries no request. Whether there was one.
    pub(super) fn close_idle(&self) -> bool {
        let Some(pools) = self.shared.pools.get() else {
            return false;
        };
        let idle = pools.idle.borrow_mut().pop();
        let named = pools.named.borrow();
        idle.is_some() || pools.http2.close_idle() || named.values().any(|host| host.close_idle())
    }

    /// Closes pooled connections that are spent or idle for too long. Returns how many are left.
    pub(super) fn reap(&self, now: Instant, idle_timeout: Option<Duration>) -> usize {
        let Some(pools) = self.shared.pools.get() else {
            return 0;
        };
        let mut idle = pools.idle.borrow_mut();
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
        let mut left = idle.len() + pools.http2.reap(now, idle_timeout);
        drop(idle);
        pools.named.borrow_mut().retain(|_, host| {
            left += host.reap(now, idle_timeout);
            host.is_in_use()
        });
        left
    }
}

impl Deref for Host {
    type Target = Endpoint;

    /// What discovery says of it.
    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

// === impl Shared ===

impl Shared {
    fn pools(&self) -> &Pools {
        self.pools.get_or_init(Box::default)
    }
}

// === impl Tried ===

impl Tried {
    pub(crate) fn note(&mut self, host: Rc<Host>) {
        let tried = self.0.get_or_insert_default();
        if tried.len() < MAX_TRIED {
            tried.push(host);
        }
    }

    /// Whether none was.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The priorities of the hosts that were tried, in their order.
    pub(super) fn priorities(&self) -> impl ExactSizeIterator<Item = u32> {
        let tried = self.0.as_deref().map(Vec::as_slice).unwrap_or_default();
        tried.iter().map(|host| host.priority)
    }

    pub(super) fn has(&self, host: &Host) -> bool {
        let mut tried = self.0.iter().flat_map(|hosts| hosts.iter());
        tried.any(|tried| tried.address == host.address)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    #[test]
    fn a_host_takes_little_memory() {
        // The counts of an `Rc` or an `Arc`, and a pointer in a list.
        let (counts, entry) = (2 * size_of::<usize>(), size_of::<usize>());
        let shared = counts + size_of::<Endpoint>() + entry;
        assert!(shared <= 300, "{shared} bytes of all workers");
        let of_worker = size_of::<Host>() + size_of::<Shared>() + 2 * counts;
        assert!(of_worker <= 100, "{of_worker} bytes of each worker");
    }
}
