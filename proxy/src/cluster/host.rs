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

use super::{http2::Http2Pool, pool::Idle, ring_hash::Ring};
use crate::config::{
    LoadAssignment,
    cluster::RingHash,
    endpoint::{Endpoint, HealthStatus},
};

/// An endpoint.
pub struct Host {
    pub(crate) address: SocketAddr,
    /// For `auto_host_rewrite`; may be empty.
    pub(crate) hostname: Box<str>,
    pub(crate) weight: u32,
    pub(crate) health: HealthStatus,
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

/// The endpoints of a cluster, grouped for picking.
#[derive(Default)]
pub(crate) struct HostSet {
    all: Vec<Rc<Host>>,
    /// Those that get traffic, each repeated by its share of the weight.
    pub(super) schedule: Vec<Rc<Host>>,
    /// The same on a ring, if the cluster goes by a hash.
    pub(super) ring: Option<Ring>,
    healthy: usize,
    /// Those that get traffic are not of the highest priority.
    below: bool,
}

/// Envoy's `healthy_panic_threshold`: with fewer healthy hosts than this share, percent, all get
/// traffic, since what health says is then less likely than not.
const PANIC_THRESHOLD: usize = 50;
/// Idle HTTP/1 connections of a host that are kept for as long as the cluster says.
const SPARE: usize = 16;
/// How long further ones are kept: a burst leaves many, which hold memory here and at the endpoint.
const SURPLUS_IDLE: Duration = Duration::from_secs(20);
/// Names that an endpoint keeps connections for. Beyond these, a connection serves one request.
const MAX_NAMES: usize = 256;
/// Entries of the schedule at most; weights are rounded to fit.
const MAX_SCHEDULE: u64 = 1024;

// === impl Host ===

impl Host {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address,
            hostname: endpoint.hostname.as_str().into(),
            weight: endpoint.weight.max(1),
            health: endpoint.health,
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
            hostname: self.hostname.clone(),
            hash_key: self.hash_key.clone(),
            workload: self.workload.clone(),
            transport_socket_match: self.transport_socket_match.clone(),
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

// === impl HostSet ===

impl HostSet {
    /// The set after an update. Hosts whose address stays, and what chooses their transport socket,
    /// keep their connections and counts. With a ring, if the cluster goes by a hash.
    pub(super) fn update(&self, endpoints: &LoadAssignment, ring: Option<RingHash>) -> Self {
        let known: HashMap<SocketAddr, &Rc<Host>> =
            self.all.iter().map(|host| (host.address, host)).collect();
        let all: Vec<Rc<Host>> = endpoints
            .endpoints()
            .map(|endpoint| {
                let mut host = Host::new(endpoint);
                // What was connected by another transport socket is of no use to it.
                let known = known.get(&endpoint.address);
                let same = |known: &&&Rc<Host>| {
                    known.transport_socket_match == host.transport_socket_match
                };
                if let Some(known) = known.filter(same) {
                    host.shared = Rc::clone(&known.shared);
                }
                Rc::new(host)
            })
            .collect();
        let stays = |host: &&Rc<Host>| all.iter().any(|new| Rc::ptr_eq(&new.shared, &host.shared));
        self.all
            .iter()
            .filter(|host| !stays(host))
            .for_each(|host| host.retire());
        let priorities = endpoints.localities.iter().flat_map(|locality| {
            locality
                .endpoints
                .iter()
                .map(|_| locality.priority)
                .collect::<Vec<_>>()
        });
        let by_priority = all.iter().zip(priorities).collect::<Vec<_>>();
        let usable = usable(&by_priority);
        let first = usable.first();
        let below = first.is_some_and(|first| {
            let is_first = |(host, _): &&(&Rc<Host>, u32)| Rc::ptr_eq(host, first);
            by_priority
                .iter()
                .find(is_first)
                .is_some_and(|(_, priority)| *priority > 0)
        });
        let healthy = all
            .iter()
            .filter(|host| host.health == HealthStatus::Healthy)
            .count();
        Self {
            schedule: schedule(&usable),
            ring: ring.map(|size| Ring::new(&usable, size)),
            all,
            healthy,
            below,
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Rc<Host>> {
        self.all.iter()
    }

    /// Whether those of the highest priority are of no use, so that others serve.
    pub(super) fn is_below(&self) -> bool {
        self.below
    }

    pub(super) fn total(&self) -> i64 {
        i64::try_from(self.all.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn healthy(&self) -> i64 {
        i64::try_from(self.healthy).unwrap_or(i64::MAX)
    }
}

/// The hosts of the first priority that has any to use.
fn usable(hosts: &[(&Rc<Host>, u32)]) -> Vec<Rc<Host>> {
    let mut priorities: Vec<u32> = hosts.iter().map(|(_, priority)| *priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let of = |priority: u32, statuses: &[HealthStatus]| -> Vec<Rc<Host>> {
        let fits =
            |(host, p): &&(&Rc<Host>, u32)| *p == priority && statuses.contains(&host.health);
        hosts
            .iter()
            .filter(fits)
            .map(|(host, _)| Rc::clone(host))
            .collect()
    };
    let degraded = [HealthStatus::Healthy, HealthStatus::Degraded];
    for priority in &priorities {
        let total = hosts.iter().filter(|(_, p)| p == priority).count();
        let healthy = of(*priority, &[HealthStatus::Healthy]);
        if !healthy.is_empty() && healthy.len() * 100 >= total * PANIC_THRESHOLD {
            return healthy;
        }
        let degraded = of(*priority, &degraded);
        if healthy.is_empty() && !degraded.is_empty() {
            return degraded;
        }
    }
    let all = [
        HealthStatus::Healthy,
        HealthStatus::Degraded,
        HealthStatus::Unhealthy,
    ];
    for statuses in [&all[..2], &all[..]] {
        for priority in &priorities {
            let found = of(*priority, statuses);
            if !found.is_empty() {
                return found;
            }
        }
    }
    Vec::new()
}

/// Repeats each host by its share of the weight, spread out rather than in runs.
fn schedule(hosts: &[Rc<Host>]) -> Vec<Rc<Host>> {
    let divisor = hosts
        .iter()
        .fold(0, |divisor, host| gcd(divisor, u64::from(host.weight)));
    let total: u64 = hosts
        .iter()
        .map(|host| u64::from(host.weight) / divisor.max(1))
        .sum();
    if total == hosts.len() as u64 {
        return hosts.to_vec();
    }
    let scale = (total.div_ceil(MAX_SCHEDULE)).max(1) * divisor.max(1);
    let mut entries: Vec<(u64, usize)> = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let count = (u64::from(host.weight) / scale).max(1);
        // The k-th of n entries stands at (k + 1/2) / n of the round.
        entries.extend((0..count).map(|k| ((2 * k + 1) * (1 << 32) / (2 * count), index)));
    }
    entries.sort_unstable();
    entries
        .into_iter()
        .map(|(_, index)| Rc::clone(&hosts[index]))
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::endpoint::LocalityEndpoints;

    fn assignment(endpoints: &[(u16, u32, HealthStatus, u32)]) -> LoadAssignment {
        let locality = |&(port, weight, health, priority): &(u16, u32, HealthStatus, u32)| {
            let address = SocketAddr::from(([10, 0, 0, 1], port));
            let endpoint = Endpoint {
                address,
                hostname: String::new(),
                health,
                weight,
                hash_key: None,
                last_resort: false,
                sidecar: false,
                workload: None,
                transport_socket_match: None,
            };
            LocalityEndpoints {
                priority,
                endpoints: vec![endpoint],
                ..Default::default()
            }
        };
        let localities = endpoints.iter().map(locality).collect();
        LoadAssignment {
            cluster_name: "c".to_owned(),
            localities,
        }
    }

    fn ports(endpoints: &[(u16, u32, HealthStatus, u32)]) -> Vec<u16> {
        let set = HostSet::default().update(&assignment(endpoints), None);
        set.schedule
            .iter()
            .map(|host| host.address.port())
            .collect()
    }

    #[test]
    fn weights_become_shares_that_are_spread_out() {
        use HealthStatus::Healthy;
        assert_eq!(ports(&[(1, 1, Healthy, 0), (2, 1, Healthy, 0)]), [1, 2]);
        assert_eq!(
            ports(&[(1, 300, Healthy, 0), (2, 100, Healthy, 0)]),
            [1, 1, 2, 1]
        );
        let huge = ports(&[(1, u32::MAX, Healthy, 0), (2, 1, Healthy, 0)]);
        assert!(huge.len() <= 1026 && huge.contains(&2));
    }

    #[test]
    fn unhealthy_hosts_get_traffic_only_when_most_are() {
        use HealthStatus::{Draining, Healthy, Unhealthy};
        assert_eq!(ports(&[(1, 1, Healthy, 0), (2, 1, Unhealthy, 0)]), [1]);
        let most = [
            (1, 1, Healthy, 0),
            (2, 1, Unhealthy, 0),
            (3, 1, Unhealthy, 0),
        ];
        assert_eq!(ports(&most), [1]);
        assert_eq!(ports(&most[1..]), [2, 3]);
        assert_eq!(ports(&[(1, 1, Draining, 0)]), [0_u16; 0]);
    }

    #[test]
    fn the_next_priority_serves_when_the_first_cannot() {
        use HealthStatus::{Healthy, Unhealthy};
        assert_eq!(ports(&[(1, 1, Healthy, 0), (2, 1, Healthy, 1)]), [1]);
        assert_eq!(ports(&[(1, 1, Unhealthy, 0), (2, 1, Healthy, 1)]), [2]);
        let is_below = |endpoints| {
            let set = HostSet::default().update(&assignment(endpoints), None);
            set.is_below()
        };
        assert!(!is_below(&[(1, 1, Healthy, 0), (2, 1, Healthy, 1)]));
        assert!(is_below(&[(1, 1, Unhealthy, 0), (2, 1, Healthy, 1)]));
        assert!(
            is_below(&[(2, 1, Healthy, 1)]),
            "there is none of the highest"
        );
        assert!(!is_below(&[]));
    }

    #[test]
    fn a_host_of_another_transport_socket_is_another_host() {
        let mut endpoints = assignment(&[(1, 1, HealthStatus::Healthy, 0)]);
        let set = HostSet::default().update(&endpoints, None);
        set.all[0].add_active(3);
        let said = Map::from_iter([("tlsMode".to_owned(), "istio".into())]);
        endpoints.localities[0].endpoints[0].transport_socket_match = Some(Arc::new(said));
        let other = set.update(&endpoints, None);
        assert_eq!(other.all[0].active(), 0);
        assert!(set.all[0].is_retired() && !other.all[0].is_retired());
        let same = other.update(&endpoints, None);
        assert!(Rc::ptr_eq(&same.all[0].shared, &other.all[0].shared));
    }

    #[test]
    fn a_host_that_stays_keeps_its_counts() {
        let set = HostSet::default().update(&assignment(&[(1, 1, HealthStatus::Healthy, 0)]), None);
        set.all[0].add_active(3);
        let set = set.update(
            &assignment(&[
                (2, 1, HealthStatus::Healthy, 0),
                (1, 5, HealthStatus::Healthy, 0),
            ]),
            None,
        );
        let active: Vec<u32> = set.all().map(|host| host.active()).collect();
        assert_eq!(active, [0, 3]);
    }
}
