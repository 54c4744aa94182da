//! [`Server`]: the data plane as a whole. Binds, spawns the workers, and runs what belongs to the
//! control thread: the admin interface, the read-only listeners and the ADS client.
//!
//! Signals are the caller's business: [`Server::run`] ends when the future it is given does, and
//! a [`Handle`] moves the phase from another task.

mod initial;

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use self::initial::Initial;
use crate::{
    access_log::Reopenings,
    admin::{self, Admin, Face},
    boundary::Boundary,
    cluster::{self, ForwardProxies, Healths, Names},
    config::{Bootstrap, cluster::ClusterDiscovery, dns::DnsResolver, overload::OverloadManager},
    connection_log::ConnectionLog,
    demand::{self, DemandReceiver},
    dns_cache::DnsCaches,
    net::{BindError, listen},
    overload::{self, Overload},
    secrets::Secrets,
    singletons::Singletons,
    snapshot::{Destination, DestinationListener, Publisher, Snapshot},
    stats::Registry,
    worker::{self, Phase, Shared, WorkerHandle},
    xds,
};

pub use crate::{
    handle::Handle,
    options::{LogFilter, Options, ReadOnlyListeners, SetFilter},
};

/// How long workers may take to end once they are told to.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A data plane that is bound and serving.
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    admin: Arc<Admin>,
    faces: Vec<(Face, TcpListener)>,
    workers: Vec<WorkerHandle>,
    client: Option<xds::Client>,
    secrets: Arc<Secrets>,
    /// What health checks need.
    health: cluster::HealthSurroundings,
    /// What waits for the first of them.
    initial: Initial,
    demands: DemandReceiver,
    /// What is done while memory or connections are too many, and when.
    overload: Option<(Arc<Overload>, Arc<OverloadManager>)>,
    trim_heap: Option<fn() -> bool>,
    /// How names are looked up where a cluster does not say.
    dns_resolver: Arc<DnsResolver>,
    /// Names that requests bring.
    dns_caches: Arc<DnsCaches>,
}

/// Why the data plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An address of the admin interface, or of a read-only listener, cannot be had.
    #[error("{purpose}: cannot listen on {address}")]
    BindAdmin {
        /// Which one.
        purpose: Face,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Two listeners share a name or an original destination.
    #[error("listener {0:?}: its {1} is taken by another listener")]
    Duplicate(String, &'static str),
    /// A worker's thread or runtime cannot be made.
    #[error("cannot start worker {0}")]
    Worker(usize, #[source] io::Error),
    /// The aggregated discovery stream cannot be set up from this bootstrap.
    #[error(transparent)]
    Ads(#[from] xds::SetUpError),
}

// === impl Server ===

impl Server {
    /// Binds everything and starts the workers. Serving begins at once; the admin interface and
    /// the ADS client begin with [`Server::run`].
    pub fn start(bootstrap: &Bootstrap, options: Options) -> Result<Self, StartError> {
        let started = Instant::now();
        let client = bootstrap
            .ads
            .as_ref()
            .map(|ads| xds::Client::new(ads, bootstrap, &options))
            .transpose()?;
        let mut snapshot = static_snapshot(bootstrap, &options)?;
        let initial = Initial::hold(&mut snapshot);
        snapshot.discovery_available = client.is_some();
        let faces = bind_faces(bootstrap, &options)?;

        let publisher = Publisher::new(snapshot);
        let registry = Arc::new(Registry::default());
        let boundary = Boundary::new(&registry);
        let secrets = Secrets::new(options.local_secrets.clone(), &bootstrap.secrets);
        let secrets = Arc::new(secrets);
        let health = Arc::new(Healths::new(&registry));
        let overload = bootstrap.overload.as_ref().map(|config| {
            let probes = options.read_only.probes.clone();
            (Overload::new(config, probes), Arc::clone(config))
        });
        let singletons = Arc::<Singletons>::default();
        let dns_caches = singletons.get(DnsCaches::NAME, DnsCaches::default);
        let reopenings = Reopenings::of(&singletons);
        let surroundings =
            cluster::HealthSurroundings::new(&health, &registry, &singletons, &secrets, &boundary);
        let (phase, _) = watch::channel(Phase::Active);
        let (sender, demands) = demand::channel();
        let shared = Shared {
            snapshot: publisher.subscribe(),
            phase: phase.subscribe(),
            demands: sender,
            registry: Arc::clone(&registry),
            singletons,
            health: Arc::clone(&health),
            secrets: Arc::clone(&secrets),
            mesh_metrics: options.mesh_metrics.clone(),
            flows: options.flows.clone(),
            overload: overload.as_ref().map(|(overload, _)| Arc::clone(overload)),
            boundary: boundary.clone(),
        };
        let mut workers = Vec::with_capacity(options.concurrency.get());
        for index in 0..options.concurrency.get() {
            let worker = worker::spawn(index, shared.clone());
            workers.push(worker.map_err(|source| StartError::Worker(index, source))?);
        }
        let logs: Vec<Arc<ConnectionLog>> = workers
            .iter()
            .map(|worker| Arc::clone(&worker.connections))
            .collect();
        let inventory = client.as_ref().map(xds::Client::inventory);
        let handle = Handle::new(
            publisher,
            phase,
            registry,
            boundary,
            health,
            inventory.clone(),
            reopenings,
        );
        let trim_heap = options.trim_heap;
        let admin_address = faces
            .iter()
            .find(|(face, _)| *face == Face::Admin)
            .and_then(|(_, socket)| socket.local_addr().ok());
        let admin = Admin::new(
            handle.clone(),
            bootstrap,
            options,
            logs,
            admin_address,
            inventory,
            Arc::clone(&secrets),
        );
        admin.stats().started(started.elapsed());
        Ok(Self {
            handle,
            admin: Arc::new(admin),
            faces,
            workers,
            client,
            secrets,
            health: surroundings,
            initial,
            demands,
            overload,
            trim_heap,
            dns_resolver: Arc::clone(&bootstrap.dns_resolver),
            dns_caches,
        })
    }

    /// What moves the phase and reads the state while the server runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where the admin interface listens; useful when it was given port 0.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.address()
    }

    /// What the admin interface reads, and the addresses of the process's own HTTP server.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (Arc<Admin>, Vec<SocketAddr>) {
        let address = |(_, socket): &(Face, TcpListener)| socket.local_addr();
        let addresses = self.faces.iter().map(address).collect::<io::Result<_>>();
        (Arc::clone(&self.admin), addresses.expect("bound sockets"))
    }

    /// Serves until `shutdown` is ready, then stops the workers. What is still open is dropped:
    /// draining comes before, by [`Handle::drain`].
    ///
    /// Must be called within a tokio runtime; its thread is the control thread.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        let boundary = self.handle.boundary();
        for (face, socket) in self.faces {
            let socket = Arc::new(tokio::net::TcpListener::from_std(socket)?);
            let (admin, boundary) = (Arc::clone(&self.admin), boundary.clone());
            tasks.spawn(
                boundary.keep(move || admin::serve(Arc::clone(&admin), face, Arc::clone(&socket))),
            );
        }
        let handle = self.handle.clone();
        let (publisher, healths) = (handle.publisher(), handle.health());
        if !self.initial.is_empty() {
            let opens = self.initial.open(publisher.clone(), Arc::clone(healths));
            tasks.spawn(opens);
        }
        let (kept, health) = (handle.clone(), self.health);
        tasks.spawn(
            boundary
                .clone()
                .keep(move || cluster::keep_health(health.clone(), kept.subscribe())),
        );
        let names = Arc::new(Names::new(
            handle.publisher().clone(),
            Arc::clone(handle.registry()),
            Arc::clone(handle.health()),
            boundary.clone(),
            &self.dns_resolver,
        ));
        let kept = Arc::clone(&names);
        tasks.spawn(boundary.clone().keep(move || Arc::clone(&kept).run()));
        let forward_proxies = ForwardProxies::new(
            handle.publisher().clone(),
            Arc::clone(handle.registry()),
            Arc::clone(handle.health()),
            self.dns_caches,
        );
        let (resolver, bound) = (Arc::clone(&self.dns_resolver), boundary.clone());
        tasks.spawn(boundary.clone().keep(move || {
            let (resolver, bound) = (Arc::clone(&resolver), bound.clone());
            Arc::clone(&forward_proxies).run(resolver, bound)
        }));
        if let Some((overload, config)) = self.overload {
            let (registry, trim) = (Arc::clone(self.handle.registry()), self.trim_heap);
            tasks.spawn(boundary.clone().keep(move || {
                let state = (Arc::clone(&overload), Arc::clone(&config));
                overload::keep(state.0, state.1, Arc::clone(&registry), trim)
            }));
        }
        match self.client {
            Some(client) => {
                let context = xds::Context {
                    publisher: self.handle.publisher().clone(),
                    stats: self.admin.discovery_stats(),
                    listeners: Arc::clone(&self.admin.stats().listeners),
                    clusters: Arc::clone(&self.admin.stats().clusters),
                    workers: self.admin.concurrency(),
                    secrets: self.secrets,
                    health: Arc::clone(self.handle.health()),
                    boundary: boundary.clone(),
                    names,
                };
                tasks.spawn(client.run(context, self.demands));
            }
            // Nobody answers; workers see their demands refused at once.
            None => drop(self.demands),
        }
        shutdown.await;
        self.handle.stop();
        tasks.shutdown().await;
        let workers = self.workers;
        let join = tokio::task::spawn_blocking(move || {
            workers.into_iter().enumerate().for_each(|(index, worker)| {
                if !worker.join() {
                    tracing::error!(index, "a worker panicked");
                }
            });
        });
        if tokio::time::timeout(JOIN_TIMEOUT, join).await.is_err() {
            tracing::warn!("workers did not end in time");
        }
        Ok(())
    }
}

/// The snapshot that the bootstrap alone makes, with its sockets bound.
fn static_snapshot(bootstrap: &Bootstrap, options: &Options) -> Result<Snapshot, StartError> {
    let mut snapshot = Snapshot {
        runtime: Arc::new(bootstrap.runtime.clone()),
        local_cluster: bootstrap.local_cluster.clone(),
        ..Snapshot::default()
    };
    for listener in &bootstrap.listeners {
        let name = listener.name.clone();
        if listener.bind_to_port {
            let bound = listen::bind(listener, options.concurrency)?;
            if snapshot
                .listeners
                .insert(name.clone(), Arc::new(bound))
                .is_some()
            {
                return Err(StartError::Duplicate(name, "name"));
            }
        } else {
            let present = DestinationListener::new(Arc::clone(listener));
            let present = Destination::Present(Arc::new(present));
            if snapshot
                .destinations
                .insert(listener.address, present)
                .is_some()
            {
                return Err(StartError::Duplicate(name, "address"));
            }
        }
    }
    let cluster =
        |cluster: &Arc<crate::config::Cluster>| (cluster.name.clone(), Arc::clone(cluster));
    snapshot.awaits_names = bootstrap
        .clusters
        .iter()
        .any(|cluster| matches!(cluster.discovery, ClusterDiscovery::Dns(_)));
    snapshot.clusters = bootstrap
        .clusters
        .iter()
        .map(cluster)
        .collect::<HashMap<_, _>>();
    Ok(snapshot)
}

fn bind_faces(
    bootstrap: &Bootstrap,
    options: &Options,
) -> Result<Vec<(Face, TcpListener)>, StartError> {
    let extra = &options.read_only;
    let wanted = bootstrap
        .admin
        .iter()
        .map(|address| (Face::Admin, *address))
        .chain(extra.prometheus.iter().map(|a| (Face::Prometheus, *a)))
        .chain(extra.readiness.iter().map(|a| (Face::Readiness, *a)))
        .chain(extra.status.iter().map(|a| (Face::Status, *a)));
    wanted
        .map(|(face, address)| {
            let bound = admin::bind(address).map_err(|source| StartError::BindAdmin {
                purpose: face,
                address,
                source,
            })?;
            Ok((face, bound))
        })
        .collect()
}
