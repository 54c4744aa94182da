//! Drives [`State`] with a connection, the workers' demands and the clock.

mod count;
mod outage;
mod running;

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};

use tokio::sync::mpsc;
use weir_api::xds::envoy::config::core::v3::Node;

use self::running::Running;
use super::{
    Inventory, Kind, SetUpError, Stats,
    link::{self, Target},
    resource::{self, Reference},
    state::{Settings, State},
};
use crate::{
    boundary::Boundary,
    cluster::{Healths, Names},
    config::{
        Bootstrap, Listener,
        bootstrap::Ads,
        cluster::ClusterDiscovery,
        dns::{DnsResolver, DnsTarget},
    },
    demand::{Demand, DemandReceiver},
    options::Options,
    secrets::{Local, Secrets},
    server_stats::{ClusterManager, ListenerManager},
    snapshot::Publisher,
};

/// Events that may wait. The link reads no further until the client has caught up.
const EVENTS: usize = 16;

/// The ADS client, not yet running.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    node: Node,
    inventory: Arc<Inventory>,
}

/// What a turn of the client is about.
enum Turn {
    Event(link::Event),
    Demand(Demand),
    Timer,
}

/// What the client works on.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) publisher: Publisher,
    pub(crate) stats: Arc<Stats>,
    pub(crate) listeners: Arc<ListenerManager>,
    pub(crate) clusters: Arc<ClusterManager>,
    pub(crate) workers: NonZeroUsize,
    pub(crate) secrets: Arc<Secrets>,
    /// Says which clusters' hosts have been checked.
    pub(crate) health: Arc<Healths>,
    pub(crate) boundary: Boundary,
    pub(crate) names: Arc<Names>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(
        ads: &Ads,
        bootstrap: &Bootstrap,
        options: &Options,
    ) -> Result<Self, SetUpError> {
        let no_endpoint = || SetUpError::NoEndpoint(ads.cluster.clone());
        let cluster = bootstrap
            .clusters
            .iter()
            .find(|cluster| cluster.name == ads.cluster);
        let cluster = cluster.ok_or_else(no_endpoint)?;
        let endpoint = match &cluster.discovery {
            ClusterDiscovery::Static(assignment) => {
                let first = assignment.endpoints().next();
                first.map(|endpoint| endpoint.address.to_string())
            }
            ClusterDiscovery::Dns(dns) => dns.targets.first().map(DnsTarget::authority),
            ClusterDiscovery::Eds(_)
            | ClusterDiscovery::Aggregate(_)
            | ClusterDiscovery::ForwardProxy(_)
            | ClusterDiscovery::OriginalDst => None,
        };
        let is_resolved_otherwise = matches!(&cluster.discovery, ClusterDiscovery::Dns(dns)
            if dns.resolver.is_some() || *bootstrap.dns_resolver != DnsResolver::default());
        let address = options.control_plane.address.clone();
        if address.is_none() && is_resolved_otherwise {
            return Err(SetUpError::Resolver(ads.cluster.clone()));
        }
        let address = address.or(endpoint);
        let target = Target {
            address: address.ok_or_else(no_endpoint)?,
            protocol: ads.protocol,
            tls: options.control_plane.tls.clone(),
            connect_timeout: cluster.connect_timeout,
            metadata: ads.initial_metadata.clone(),
        };
        let mut node = bootstrap.node.clone();
        if node.user_agent_name.is_empty() {
            "weir".clone_into(&mut node.user_agent_name);
        }
        let state = State::new(settings(bootstrap, options.local_secrets.as_ref()));
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
        let (boundary, health) = (context.boundary.clone(), Arc::clone(&context.health));
        let names = Arc::clone(&context.names);
        self.inventory.state().await_names(&names);
        let link = link::run(self.target, sender, &boundary);
        let mut running = Running::new(context, self.inventory, self.node);
        let drive = async {
            loop {
                let wakeup = running.next_wakeup();
                let timer = async {
                    match wakeup {
                        Some(at) => tokio::time::sleep_until(at.into()).await,
                        None => std::future::pending().await,
                    }
                };
                let turn = tokio::select! {
                    event = events.recv() => match event {
                        Some(event) => Turn::Event(event),
                        None => return,
                    },
                    demand = demands.recv() => match demand {
                        Some(demand) => Turn::Demand(demand),
                        // The workers are gone.
                        None => return,
                    },
                    () = timer => Turn::Timer,
                    () = health.warmed() => Turn::Timer,
                    () = names.ready() => Turn::Timer,
                };
                let done = boundary.call(|| {
                    match turn {
                        Turn::Event(event) => running.event(event),
                        Turn::Demand(demand) => {
                            running.demand(demand);
                            while let Ok(demand) = demands.try_recv() {
                                running.demand(demand);
                            }
                        }
                        Turn::Timer => {}
                    }
                    running.settle();
                });
                if done.is_none() {
                    running.start_over();
                }
            }
        };
        tokio::join!(link, drive);
    }
}

/// What the bootstrap decides for the protocol.
fn settings(bootstrap: &Bootstrap, local: Option<&Local>) -> Settings {
    let (clusters, listeners) = (bootstrap.clusters.iter(), bootstrap.listeners.iter());
    // Who gets all listeners has no names to ask for.
    let is_replaceable = |listener: &&Arc<Listener>| listener.replaceable && !bootstrap.lds;
    let name = |listener: &Arc<Listener>| listener.name.clone();
    let fixed = listeners.clone().filter(|it| !is_replaceable(it));
    let known: BTreeSet<Reference> = clusters
        .clone()
        .map(|cluster| (Kind::Cluster, cluster.name.clone()))
        .chain(fixed.map(|listener| (Kind::Listener, name(listener))))
        // What the process provides is asked of nobody else.
        .chain(
            local
                .into_iter()
                .flat_map(Local::names)
                .map(|name| (Kind::Secret, name.to_owned())),
        )
        .collect();
    let references = clusters.flat_map(|cluster| resource::of_cluster(cluster));
    let references = references.chain(listeners.clone().flat_map(|l| resource::of_listener(l)));
    Settings {
        all_listeners: bootstrap.lds,
        all_clusters: bootstrap.cds,
        on_demand: listeners.clone().find_map(|listener| listener.on_demand),
        references: references
            .filter(|reference| !known.contains(reference))
            .collect(),
        replaceable: listeners.filter(is_replaceable).map(name).collect(),
        known,
    }
}

#[cfg(test)]
mod tests;
