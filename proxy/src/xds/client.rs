//! Drives [`State`] with a connection, the workers' demands and the clock.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Weak, atomic::Ordering},
    time::{Instant, SystemTime},
};

use tokio::sync::mpsc;
use weir_api::xds::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    },
    google::rpc::Status,
};

use super::{
    Inventory, Kind, SetUpError, Stats,
    change::Change,
    link::{self, Event, Target},
    resource::{self, Converted, Reference, Resource},
    state::{Request, Response, Settings, State, Update, Usage},
};
use crate::{
    config::{
        Bootstrap, Listener,
        bootstrap::{Ads, AdsProtocol},
        cluster::ClusterDiscovery,
    },
    demand::{Demand, DemandReceiver},
    listener::{self, BoundListener},
    server::{ClusterManager, ListenerManager, Options},
    snapshot::{Destination, DestinationListener, Publisher, Snapshot},
    stats::Counter,
};

/// Events that may wait. The link reads no further until the client has caught up.
const EVENTS: usize = 16;
/// gRPC's INVALID_ARGUMENT, which a NACK carries.
const INVALID_ARGUMENT: i32 = 3;

/// The ADS client, not yet running.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    node: Node,
    inventory: Arc<Inventory>,
}

/// What the client works on.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) publisher: Publisher,
    pub(crate) stats: Arc<Stats>,
    pub(crate) listeners: Arc<ListenerManager>,
    pub(crate) clusters: Arc<ClusterManager>,
    pub(crate) workers: NonZeroUsize,
}

/// The ADS client, running.
struct Running {
    context: Context,
    inventory: Arc<Inventory>,
    node: Node,
    requests: Option<mpsc::Sender<DeltaDiscoveryRequest>>,
    /// The node goes with the first request of a stream only.
    is_node_sent: bool,
    /// Earlier versions of destinations that connections may still hold.
    replaced: HashMap<SocketAddr, Vec<Weak<DestinationListener>>>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(
        ads: &Ads,
        bootstrap: &Bootstrap,
        options: &Options,
    ) -> Result<Self, SetUpError> {
        if ads.protocol == AdsProtocol::StateOfTheWorld {
            return Err(SetUpError::StateOfTheWorld);
        }
        let no_endpoint = || SetUpError::NoEndpoint(ads.cluster.clone());
        let cluster = bootstrap
            .clusters
            .iter()
            .find(|cluster| cluster.name == ads.cluster);
        let cluster = cluster.ok_or_else(no_endpoint)?;
        let endpoint = match &cluster.discovery {
            ClusterDiscovery::Static(assignment) => assignment.endpoints().next(),
            ClusterDiscovery::Eds(_) | ClusterDiscovery::OriginalDst => None,
        };
        let endpoint = endpoint.map(|endpoint| endpoint.address.to_string());
        let address = options.control_plane.address.clone().or(endpoint);
        let target = Target {
            address: address.ok_or_else(no_endpoint)?,
            tls: options.control_plane.tls.clone(),
            connect_timeout: cluster.connect_timeout,
            metadata: ads.initial_metadata.clone(),
        };
        let mut node = bootstrap.node.clone();
        if node.user_agent_name.is_empty() {
            "weir".clone_into(&mut node.user_agent_name);
        }
        let state = State::new(settings(bootstrap));
        Ok(Self {
            target,
            node,
            inventory: Arc::new(Inventory::new(state)),
        })
    }

    /// What the control plane sent, shared with the admin interface.
    pub(crate) fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&self.inventory)
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(self, context: Context, mut demands: DemandReceiver) {
        let (sender, mut events) = mpsc::channel(EVENTS);
        let link = link::run(self.target, sender);
        let mut running = Running {
            context,
            inventory: self.inventory,
            node: self.node,
            requests: None,
            is_node_sent: false,
            replaced: HashMap::new(),
        };
        let drive = async {
            loop {
                let wakeup = running.inventory.state().next_wakeup();
                let timer = async {
                    match wakeup {
                        Some(at) => tokio::time::sleep_until(at.into()).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    event = events.recv() => match event {
                        Some(event) => running.event(event),
                        None => return,
                    },
                    demand = demands.recv() => match demand {
                        Some(demand) => {
                            running.demand(demand);
                            while let Ok(demand) = demands.try_recv() {
                                running.demand(demand);
                            }
                        }
                        // The workers are gone.
                        None => return,
                    },
                    () = timer => {}
                }
                running.settle();
            }
        };
        tokio::join!(link, drive);
    }
}

/// What the bootstrap decides for the protocol.
fn settings(bootstrap: &Bootstrap) -> Settings {
    let clusters = bootstrap.clusters.iter();
    let listeners = bootstrap.listeners.iter();
    let known: BTreeSet<Reference> = clusters
        .clone()
        .map(|cluster| (Kind::Cluster, cluster.name.clone()))
        .chain(
            listeners
                .clone()
                .map(|listener| (Kind::Listener, listener.name.clone())),
        )
        .collect();
    let references = clusters.filter_map(|cluster| resource::of_cluster(cluster));
    let references = references.chain(listeners.flat_map(|l| resource::of_listener(l)));
    Settings {
        all_listeners: bootstrap.lds,
        all_clusters: bootstrap.cds,
        on_demand: bootstrap
            .listeners
            .iter()
            .find_map(|listener| listener.on_demand),
        // A cluster that neither the bootstrap nor CDS can bring is not asked for either.
        references: references
            .filter(|reference| !known.contains(reference))
            .collect(),
        known,
    }
}

// === impl Running ===

impl Running {
    fn event(&mut self, event: Event) {
        match event {
            Event::Up(requests) => {
                self.requests = Some(requests);
                self.is_node_sent = false;
                self.inventory.state().connected();
            }
            Event::Open => self.available(true),
            Event::Response(response) => {
                // Some servers send nothing before the first response.
                self.available(true);
                self.response(*response);
            }
            Event::Down(reason) => {
                tracing::warn!(
                    reason,
                    "no stream to the control plane; what is known stays in force"
                );
                self.requests = None;
                self.inventory.state().disconnected();
                self.available(false);
                for kind in Kind::ALL {
                    self.context.stats.updates(kind).update_failure.inc();
                }
            }
        }
    }

    fn available(&self, is_available: bool) {
        let connected = &self.context.stats.control_plane.connected_state;
        if is_available && connected.get() == 0 {
            tracing::info!("stream to the control plane is up");
        }
        connected.set(i64::from(is_available));
        if self.context.publisher.current().discovery_available != is_available {
            self.context.publisher.modify(|snapshot| {
                snapshot.discovery_available = is_available;
            });
        }
    }

    fn demand(&self, Demand { destination }: Demand) {
        let stats = &self.context.stats.demand;
        stats.demands_total.inc();
        if !self.inventory.state().demand(destination, Instant::now()) {
            stats.demands_dropped.inc();
        }
    }

    fn response(&self, response: DeltaDiscoveryResponse) {
        let Some(kind) = Kind::from_type_url(&response.type_url) else {
            tracing::warn!(
                type_url = response.type_url,
                "response of a type nobody asked for"
            );
            return;
        };
        let stats = self.context.stats.updates(kind);
        stats.update_attempt.inc();
        let updates = response.resources.into_iter().map(|resource| {
            let message = resource.resource.unwrap_or_default();
            let outcome = self.outcome(kind, &resource.name, &message);
            Update {
                outcome: outcome.map_err(|reason| format!("{:?}: {reason}", resource.name)),
                name: resource.name,
                version: resource.version,
                message: Arc::new(message),
            }
        });
        let response = Response {
            kind,
            nonce: response.nonce,
            updates: updates.collect(),
            removed: response.removed_resources,
        };
        match self.inventory.state().response(response, SystemTime::now()) {
            None => stats.update_success.inc(),
            Some(reason) => {
                stats.update_rejected.inc();
                tracing::warn!(service = kind.service(), reason, "resources are refused");
            }
        }
    }

    /// The runtime type of a resource, with its sockets bound if it has any.
    fn outcome(
        &self,
        kind: Kind,
        name: &str,
        message: &weir_api::xds::google::protobuf::Any,
    ) -> Result<Resource, String> {
        // Sent once more, say after a reconnect: nothing must move.
        if let Some(same) = self.inventory.state().is_latest(kind, name, message) {
            return Ok(same);
        }
        match resource::convert(kind, name, message)? {
            Converted::Ready(resource) => Ok(resource),
            Converted::Unbound(listener) => self.bind(&listener).map(Resource::Listener),
        }
    }

    fn bind(&self, listener: &Arc<Listener>) -> Result<Arc<BoundListener>, String> {
        let snapshot = self.context.publisher.current();
        let old = snapshot.listeners.get(&listener.name);
        if let Some(old) = old.filter(|old| old.listener.address == listener.address) {
            return Ok(Arc::new(BoundListener {
                listener: Arc::clone(listener),
                sockets: Arc::clone(&old.sockets),
            }));
        }
        let bound = listener::bind(listener, self.context.workers);
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
    fn settle(&mut self) {
        let now = Instant::now();
        let mut state = self.inventory.state();
        let snapshot = self.context.publisher.current();
        let usage = |address| {
            usage(
                snapshot.destinations.get(&address)?,
                self.replaced.get(&address),
            )
        };
        let idle = state.expire(now, usage);
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
            self.context.publisher.modify(|snapshot| {
                changes
                    .into_iter()
                    .for_each(|change| change.apply(snapshot));
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
                Change::Set(..) | Change::Remove(..) => {}
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
        let error = request.error.map(|message| Status {
            code: INVALID_ARGUMENT,
            message,
            details: Vec::new(),
        });
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
        if requests.try_send(message).is_err() {
            // Dropping the sender ends the stream; the link then starts over.
            tracing::warn!("the control plane takes no requests; the stream is dropped");
            self.requests = None;
        }
    }
}

// === impl Context ===

impl Context {
    /// Counts what is about to change of `snapshot`.
    fn count(&self, changes: &[Change], snapshot: &Snapshot) {
        let (listeners, clusters) = (&self.listeners, &self.clusters);
        let set = |added: &Counter, modified: &Counter, is_known: bool| {
            if is_known {
                modified.inc()
            } else {
                added.inc()
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
                Change::Set(..) | Change::Remove(..) => {}
            }
        }
    }
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

#[cfg(test)]
mod tests;
