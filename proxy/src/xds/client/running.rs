//! What happens to the protocol's state, and what comes of it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Weak, atomic::Ordering},
    time::{Instant, SystemTime},
};

use weir_api::xds::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        },
    },
    google::{protobuf::Any, rpc::Status},
};

use super::{
    super::{
        Inventory, Kind,
        change::Change,
        link::{Event, Requests},
        resource::{self, Converted, Resource},
        sotw::{self, Books, Told},
        state::{Request, Response, Update, Usage},
    },
    Context,
    outage::{Outage, Word},
};
use crate::{
    config::Listener,
    demand::Demand,
    net::{BoundListener, listen},
    snapshot::{Destination, DestinationListener, Snapshot},
};

/// gRPC's INVALID_ARGUMENT, which a NACK carries.
const INVALID_ARGUMENT: i32 = 3;

/// The ADS client, running.
pub(super) struct Running {
    context: Context,
    inventory: Arc<Inventory>,
    node: Node,
    requests: Option<Requests>,
    /// Of the present stream, if it speaks the state-of-the-world variant.
    books: Books,
    /// The node goes with the first request of a stream only.
    is_node_sent: bool,
    /// Earlier versions of destinations that connections may still hold.
    replaced: HashMap<SocketAddr, Vec<Weak<DestinationListener>>>,
    /// While there is no stream.
    outage: Option<Outage>,
}

// === impl Running ===

impl Running {
    pub(super) fn new(context: Context, inventory: Arc<Inventory>, node: Node) -> Self {
        Self {
            context,
            inventory,
            node,
            requests: None,
            books: Books::default(),
            is_node_sent: false,
            replaced: HashMap::new(),
            outage: Some(Outage::new(Instant::now())),
        }
    }

    /// When [`Running::settle`] has something to do by the passing of time alone.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let reminder = self.outage.as_ref().map(Outage::next_reminder);
        let state = self.inventory.state().next_wakeup();
        state.into_iter().chain(reminder).min()
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Up(requests) => {
                self.requests = Some(requests);
                self.books = Books::default();
                self.is_node_sent = false;
                self.inventory.state().connected();
            }
            Event::Open => self.available(true),
            Event::Response(response) => {
                // Some servers send nothing before the first response.
                self.available(true);
                self.response(*response);
            }
            Event::State(response) => {
                self.available(true);
                self.state_of_the_world(*response);
            }
            Event::Down { reason, waits } => {
                self.report_failure(&reason, waits);
                self.requests = None;
                self.inventory.state().disconnected();
                self.available(false);
                for kind in Kind::ALL {
                    self.context.stats.updates(kind).update_failure.inc();
                }
            }
        }
    }

    /// Ends the stream. The next one tells the control plane what is known, and so finds out what
    /// was lost.
    pub(super) fn start_over(&mut self) {
        self.requests = None;
    }

    /// `waits`: a file is not there yet, as at the start of the first pod of a namespace.
    fn report_failure(&mut self, reason: &str, waits: bool) {
        let outage = self
            .outage
            .get_or_insert_with(|| Outage::new(Instant::now()));
        match outage.failed(reason) {
            None => tracing::debug!(reason, "still no stream to the control plane"),
            Some(_) if waits => tracing::info!(reason, "no stream to the control plane yet"),
            Some(_) => tracing::warn!(
                reason,
                "no stream to the control plane; what is known stays in force"
            ),
        }
    }

    /// Says every minute that there is no stream.
    fn remind(&mut self, now: Instant) {
        let Some(outage) = &mut self.outage else {
            return;
        };
        let Some(Word::Reminder(passed)) = outage.remind(now) else {
            return;
        };
        let (seconds, reason) = (passed.as_secs(), outage.reason());
        if self.context.stats.control_plane.ever_connected.get() == 0 {
            tracing::warn!(
                seconds,
                reason,
                "the control plane was never reached; all traffic passes as without a mesh"
            );
        } else {
            tracing::warn!(
                seconds,
                reason,
                "still no stream to the control plane; what is known stays in force"
            );
        }
    }

    fn available(&mut self, is_available: bool) {
        let connected = &self.context.stats.control_plane.connected_state;
        if is_available && connected.get() == 0 {
            tracing::info!("stream to the control plane is up");
        }
        if is_available {
            self.outage = None;
            self.context.stats.control_plane.ever_connected.set(1);
        }
        connected.set(i64::from(is_available));
        if self.context.publisher.current().discovery_available != is_available {
            self.context.publisher.modify(|snapshot| {
                snapshot.discovery_available = is_available;
            });
        }
    }

    pub(super) fn demand(&self, demand: Demand) {
        let (stats, now) = (&self.context.stats.demand, Instant::now());
        stats.demands_total.inc();
        let mut state = self.inventory.state();
        let is_taken = match demand {
            Demand::Destination(destination) => state.demand(destination, now),
            Demand::Workload(address) => state.demand_workload(address, now),
        };
        if !is_taken {
            stats.demands_dropped.inc();
        }
    }

    fn response(&self, response: DeltaDiscoveryResponse) {
        let Some(kind) = known_kind(&response.type_url) else {
            return;
        };
        let updates = response.resources.into_iter().map(|resource| {
            let message = resource.resource.unwrap_or_default();
            self.update(kind, resource.name, resource.version, message)
        });
        self.take(Response {
            kind,
            nonce: response.nonce,
            updates: updates.collect(),
            removed: response.removed_resources,
        });
    }

    fn state_of_the_world(&mut self, response: DiscoveryResponse) {
        let Some(kind) = known_kind(&response.type_url) else {
            return;
        };
        let Told {
            version,
            nonce,
            resources,
        } = self.books.response(kind, response);
        let names = resources.iter().map(|(name, _)| name.as_str()).collect();
        let removed = if sotw::is_whole(kind) {
            self.inventory.state().missing(kind, &names)
        } else {
            Vec::new()
        };
        let updates = resources
            .into_iter()
            .map(|(name, message)| self.update(kind, name, version.clone(), message));
        self.take(Response {
            kind,
            nonce,
            updates: updates.collect(),
            removed,
        });
    }

    fn update(&self, kind: Kind, name: String, version: String, message: Any) -> Update {
        let outcome = self.outcome(kind, &name, &message);
        Update {
            outcome: outcome.map_err(|reason| format!("{name:?}: {reason}")),
            name,
            version,
            message: Arc::new(message),
        }
    }

    fn take(&self, response: Response) {
        let (kind, now) = (response.kind, SystemTime::now());
        let stats = self.context.stats.updates(kind);
        stats.update_attempt.inc();
        match self.inventory.state().response(response, now) {
            None => {
                stats.update_success.inc();
                let since = now
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                let milliseconds = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
                stats.update_time.set(milliseconds);
            }
            Some(reason) => {
                stats.update_rejected.inc();
                tracing::warn!(service = kind.service(), reason, "resources are refused");
            }
        }
    }

    /// The runtime type of a resource, with its sockets bound if it has any.
    fn outcome(&self, kind: Kind, name: &str, message: &Any) -> Result<Resource, String> {
        // Sent once more, say after a reconnect: nothing must move.
        if let Some(same) = self.inventory.state().is_latest(kind, name, message) {
            return Ok(same);
        }
        let converted = self
            .context
            .boundary
            .call(|| resource::convert(kind, name, message));
        let panicked = || Err("a bug of the proxy: it panicked, and its log says where".to_owned());
        match converted.unwrap_or_else(panicked)? {
            Converted::Ready(resource) => Ok(resource),
            Converted::Unbound(listener) => self.bind(&listener).map(Resource::Listener),
        }
    }

    fn bind(&self, listener: &Arc<Listener>) -> Result<Arc<BoundListener>, String> {
        let snapshot = self.context.publisher.current();
        let old = snapshot.listeners.get(&listener.name);
        if let Some(old) = old
            && old.listener.address != listener.address
            && self
                .inventory
                .state()
                .is_replaceable(Kind::Listener, &listener.name)
        {
            let (is, must) = (listener.address, old.listener.address);
            return Err(format!(
                "address: is {is}, must be {must} as in the bootstrap"
            ));
        }
        if let Some(old) = old.filter(|old| old.listener.address == listener.address) {
            return Ok(Arc::new(BoundListener {
                listener: Arc::clone(listener),
                sockets: Arc::clone(&old.sockets),
            }));
        }
        let bound = listen::bind(listener, self.context.workers);
        let counters = &self.context.listeners;
        match &bound {
            Ok(_) => counters
                .listener_create_success
                .add(self.context.workers.get() as u64),
            Err(_) => counters.listener_create_failure.inc(),
        }
        bound.map(Arc::new).map_err(|error| error.to_string())
    }

    /// Publishes what has changed, and says what is to be said.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        self.remind(now);
        let mut state = self.inventory.state();
        let snapshot = self.context.publisher.current();
        let usage = |address| {
            usage(
                snapshot.destinations.get(&address)?,
                self.replaced.get(&address),
            )
        };
        let idle = state.expire(now, usage);
        state.note_checked(|cluster| self.context.health.is_warm(cluster));
        let changes = state.settle(now);
        let requests = state.requests(now);
        let overdue = state.newly_overdue(now);
        let (waiting, present, absent) = state.demand_counts();
        let warming = state.warming();
        drop(state);

        let set = |gauge: &crate::stats::Gauge, value: usize| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let stats = &self.context.stats;
        stats.demand.destinations_idle.add(idle as u64);
        for (kind, overdue) in Kind::ALL.into_iter().zip(overdue) {
            stats.updates(kind).init_fetch_timeout.add(overdue);
        }
        set(&stats.demand.destinations_present, present);
        set(&stats.demand.destinations_absent, absent);
        set(&stats.control_plane.pending_requests, waiting);
        set(
            &self.context.listeners.total_listeners_warming,
            warming[Kind::Listener as usize],
        );
        set(
            &self.context.clusters.warming_clusters,
            warming[Kind::Cluster as usize],
        );
        self.remember_replaced(&changes, &snapshot);
        self.context.count(&changes, &snapshot);
        // Held any longer, it would be copied for nothing.
        drop(snapshot);
        if !changes.is_empty() {
            let secrets = &self.context.secrets;
            self.context.publisher.modify(|snapshot| {
                changes
                    .into_iter()
                    .for_each(|change| change.apply(snapshot, secrets));
            });
        }
        for request in requests {
            self.send(request);
        }
    }

    fn remember_replaced(&mut self, changes: &[Change], snapshot: &Snapshot) {
        for change in changes {
            match change {
                Change::Destination(address, _) => {
                    if let Some(Destination::Present(old)) = snapshot.destinations.get(address) {
                        let replaced = self.replaced.entry(*address).or_default();
                        replaced.retain(|old| old.strong_count() > 0);
                        replaced.push(Arc::downgrade(old));
                    }
                }
                Change::Forget(address) => drop(self.replaced.remove(address)),
                Change::Set(..) | Change::Remove(..) | Change::Warm(..) | Change::EndWarming(_) => {
                }
            }
        }
    }

    fn send(&mut self, request: Request) {
        let Some(requests) = &self.requests else {
            return;
        };
        self.context
            .stats
            .updates(request.kind)
            .update_attempt
            .inc();
        let node = (!self.is_node_sent).then(|| self.node.clone());
        self.is_node_sent = true;
        let error = request.error.as_ref().map(|message| Status {
            code: INVALID_ARGUMENT,
            message: message.clone(),
            details: Vec::new(),
        });
        let is_sent = match requests {
            Requests::Delta(requests) => {
                let message = DeltaDiscoveryRequest {
                    node,
                    type_url: request.kind.type_url().to_owned(),
                    resource_names_subscribe: request.subscribe,
                    resource_names_unsubscribe: request.unsubscribe,
                    initial_resource_versions: request.initial_versions.into_iter().collect(),
                    response_nonce: request.nonce,
                    error_detail: error,
                    ..DeltaDiscoveryRequest::default()
                };
                requests.try_send(message).is_ok()
            }
            Requests::StateOfTheWorld(requests) => {
                let message = self
                    .books
                    .request(&request)
                    .map(|message| DiscoveryRequest {
                        node,
                        error_detail: error,
                        ..message
                    });
                message.is_none_or(|message| requests.try_send(message).is_ok())
            }
        };
        if !is_sent {
            // Dropping the sender ends the stream; the link then starts over.
            tracing::warn!("the control plane takes no requests; the stream is dropped");
            self.requests = None;
        }
    }
}

fn known_kind(type_url: &str) -> Option<Kind> {
    let kind = Kind::from_type_url(type_url);
    if kind.is_none() {
        tracing::warn!(type_url, "response of a type nobody asked for");
    }
    kind
}

/// How a destination is used, its earlier versions included.
fn usage(
    destination: &Destination,
    replaced: Option<&Vec<Weak<DestinationListener>>>,
) -> Option<Usage> {
    let Destination::Present(listener) = destination else {
        return None;
    };
    let mut earlier = replaced.into_iter().flatten();
    Some(Usage {
        connections: listener.connections.load(Ordering::Relaxed),
        // One is the snapshot's own.
        is_held: Arc::strong_count(listener) > 1 || earlier.any(|old| old.strong_count() > 0),
    })
}
