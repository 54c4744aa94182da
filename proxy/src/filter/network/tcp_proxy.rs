//! `envoy.filters.network.tcp_proxy`: bytes to one endpoint and back.

mod by_name;

use crate::buffer::BufferLimit;
use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use crate::{
    access_log,
    buffer::Buffer,
    cluster::{Cluster, Host, LoadBalancerContext, Outcome, Said, Subject, Tried, Upstream},
    config::{self, access_log::LogType, subset::MetadataMatch},
    factory_context::FactoryContext,
    info::ConnectionInfo,
    mesh_metrics::Event,
    metadata::TCP_PROXY_CLUSTER,
    net::{
        address::OriginalSource,
        proxy_header::Client,
        relay::{self, End, Relayed},
        transport_socket::Connection,
    },
    random,
    reason::Reason,
    stat_set,
    stats::Scope,
};

stat_set! {
    /// `tcp.<stat_prefix>.*`, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/tcp_proxy_filter#statistics>
    pub(crate) struct TcpStats {
        /// Connections served.
        downstream_cx_total: Counter,
        /// Connections for which there was no cluster.
        downstream_cx_no_route: Counter,
        /// Bytes sent to clients.
        downstream_cx_tx_bytes_total: Counter,
        /// Bytes received from clients.
        downstream_cx_rx_bytes_total: Counter,
        /// Connections closed for being idle too long.
        idle_timeout: Counter,
    }
}

/// How often a connection is made anew that an endpoint's sidecar reset before a byte went either way: its
/// application could not be reached.
const MAX_REDIALS: u32 = 3;

/// A TCP proxy in one worker.
pub(crate) struct TcpProxy {
    config: Arc<config::listener::TcpProxy>,
    context: Rc<FactoryContext>,
    stats: Arc<TcpStats>,
    random: Cell<u64>,
}

/// A connection for which no endpoint could be reached.
pub(crate) struct DialFailure {
    pub(crate) reason: Reason,
    pub(crate) cluster: Option<Arc<config::Cluster>>,
    /// The last endpoint that was tried.
    pub(crate) host: Option<SocketAddr>,
}

/// The cluster of a connection, and what its endpoint must have.
pub(crate) struct Chosen {
    pub(crate) cluster: Rc<Cluster>,
    metadata_match: Option<MetadataMatch>,
}

/// What of a connection decides where, and whence, an endpoint is dialled.
pub(crate) struct Ends {
    /// None: nobody says where to.
    destination: Option<SocketAddr>,
    /// That of the client, where the cluster goes by one.
    hash: Option<u64>,
    /// Whom the endpoint is told of, where it is.
    told: Option<Rc<Client>>,
    source: Option<OriginalSource>,
}

// === impl Ends ===

impl Ends {
    /// Of a connection that this filter sends to this cluster.
    pub(crate) fn of(filter: &TcpProxy, connection: &ConnectionInfo, cluster: &Cluster) -> Self {
        let subject = Subject {
            source: connection.remote.ip(),
            request: None,
            filter_state: &connection.filter_state,
            connection: (connection.remote.0, connection.original_destination.0),
        };
        let policies = &filter.config.hash_policy;
        Self {
            destination: cluster.destination(connection, &Said::default()),
            hash: cluster.client_hash(policies, &subject).hash,
            told: cluster
                .tells_of_clients()
                .then(|| Rc::new(connection.as_client())),
            source: connection.source,
        }
    }
}

/// The cluster that a filter has chosen.
fn cluster_of(connection: &ConnectionInfo) -> Option<&str> {
    connection.filter_state.get(TCP_PROXY_CLUSTER)
}

// === impl TcpProxy ===

impl TcpProxy {
    pub(crate) fn new(
        config: &Arc<config::listener::TcpProxy>,
        context: &Rc<FactoryContext>,
    ) -> Self {
        Self {
            config: Arc::clone(config),
            context: Rc::clone(context),
            stats: context.registry.register(Scope::tcp(&config.stat_prefix)),
            random: Cell::new(random::seed()),
        }
    }

    /// The cluster for a new connection.
    pub(crate) fn cluster(&self, connection: &ConnectionInfo) -> Option<Chosen> {
        let (name, metadata_match) = match self.config.clusters.as_slice() {
            [only] => {
                let name = cluster_of(connection).unwrap_or(&only.name);
                (name, &only.metadata_match)
            }
            several => {
                let total: u64 = several
                    .iter()
                    .map(|cluster| u64::from(cluster.weight))
                    .sum();
                let mut state = self.random.get();
                let mut drawn = random::next(&mut state) % total.max(1);
                self.random.set(state);
                let chosen = several.iter().find(|cluster| {
                    let hit = drawn < u64::from(cluster.weight);
                    drawn = drawn.saturating_sub(u64::from(cluster.weight));
                    hit
                });
                let chosen = chosen?;
                (chosen.name.as_str(), &chosen.metadata_match)
            }
        };
        Some(Chosen {
            cluster: self.context.clusters.choose(name)?,
            metadata_match: metadata_match.clone(),
        })
    }

    /// The cluster again, after a connection to `host` was of no use: what that had another must have, too.
    fn again(&self, cluster: Rc<Cluster>, host: &Host) -> Chosen {
        let clusters = self.config.clusters.iter();
        let mut wanted = clusters.filter_map(|one| one.metadata_match.as_ref());
        let metadata_match = wanted.find(|wanted| host.fits(wanted)).cloned();
        Chosen {
            cluster,
            metadata_match,
        }
    }

    /// Whether the connection can go to the cluster of this name only.
    pub(crate) fn leads_only_to(&self, cluster: &str, connection: &ConnectionInfo) -> bool {
        match self.config.clusters.as_slice() {
            [only] if only.metadata_match.is_none() => {
                cluster_of(connection).unwrap_or(&only.name) == cluster
            }
            _ => false,
        }
    }

    /// Serves a connection, from which `buffer` was read already, until it ends. `dialled` is what came of
    /// a dial during detection.
    pub(crate) async fn serve(
        self: Rc<Self>,
        connection: &mut ConnectionInfo,
        (downstream, buffer): (&mut Connection, &mut Buffer),
        dialled: &mut Option<Result<Upstream, DialFailure>>,
    ) {
        self.stats.downstream_cx_total.inc();
        if dialled.is_none() {
            // On the heap: a connection lives longer than its dial.
            *dialled = Some(Box::pin(self.dial(connection)).await);
        }
        // On the heap: it is rarely needed, and connections need not hold memory for it.
        let mut tried = None::<Box<Tried>>;
        for redials_left in (0..=MAX_REDIALS).rev() {
            let Some(Ok(upstream)) = dialled else { break };
            let cluster = Rc::clone(&upstream.cluster);
            connection.outcome.cluster = Some(Arc::clone(&cluster.config));
            connection.outcome.upstream_host = Some(upstream.host.address);
            cluster.report(&upstream.host, Outcome::ConnectedForGood);
            if self.context.mesh_metrics.is_some() {
                connection.outcome.peer = upstream.host.peer();
            }
            self.report(connection, Event::Opened);
            self.log_connected(connection, upstream);
            let ends = (&mut *downstream, &mut upstream.connection);
            let (info, idle_timeout) = (&*connection, self.config.idle_timeout);
            let progress = |sent, received| self.count(info, &cluster, (sent, received));
            let buffer = (&mut *buffer, cluster.config.buffer_limit);
            let relayed = match upstream.host.closes_with_health(&cluster) {
                None => relay::relay(ends, buffer, idle_timeout, progress).await,
                Some(health) => {
                    // On the heap: few clusters ask for it.
                    let fails = async move { health.fails().await };
                    Box::pin(relay_until(fails, ends, buffer, idle_timeout, progress)).await
                }
            };
            if relayed.end == End::Untouched && upstream.host.sidecar && redials_left > 0 {
                let tried = tried.get_or_insert_default();
                tried.note(Rc::clone(&upstream.host));
                let ends = Ends::of(&self, connection, &cluster);
                let chosen = self.again(cluster, &upstream.host);
                let again = Box::pin(self.dial_cluster(chosen, ends, tried));
                *dialled = Some(again.await);
                self.report(connection, Event::Closed);
                continue;
            }
            connection.bytes_received += relayed.to_upstream;
            connection.bytes_sent += relayed.to_downstream;
            match relayed.end {
                End::Both => {}
                End::Refused => {
                    connection.bytes_received = downstream.take_traffic().received;
                    self.tell(connection);
                }
                End::Idle => self.stats.idle_timeout.inc(),
                End::Reset | End::Untouched => {
                    downstream.reset_on_drop();
                    upstream.connection.reset_on_drop();
                }
            }
            let logs = [&self.config.access_logs, &connection.listener.access_logs];
            if logs.iter().any(|logs| !logs.is_empty()) {
                connection.upstream_local = upstream.local_addr().map(Box::new);
            }
            break;
        }
        if let Some(Err(failure)) = dialled {
            connection.outcome.reason = Some(failure.reason);
            connection.outcome.cluster = failure.cluster.take();
            connection.outcome.upstream_host = failure.host;
            // A refused dial must look like one.
            downstream.reset_on_drop();
            self.report(connection, Event::Opened);
        }
        self.report(connection, Event::Closed);
        connection.settle();
        self.log(connection, LogType::TcpConnectionEnd);
    }

    /// Writes the line that is asked for once an endpoint has been reached.
    fn log_connected(&self, connection: &mut ConnectionInfo, upstream: &mut Upstream) {
        if self.config.access_log_options.flush_on_connected {
            connection.upstream_local = upstream.local_addr().map(Box::new);
            self.log(connection, LogType::TcpUpstreamConnected);
        }
    }

    fn log(&self, connection: &ConnectionInfo, log_type: LogType) {
        let (logs, writers) = (&self.config.access_logs, &self.context.access_logs);
        if logs.is_empty() {
            return;
        }
        let line = (log_type, &connection.outcome);
        let runtime = self.context.routes.runtime();
        access_log::write_connection(writers, logs, connection, line, &runtime);
    }

    /// Has the connection remembered as a flow. Rules decide about its first bytes, so that one without
    /// any is none.
    fn tell(&self, connection: &ConnectionInfo) {
        if let Some(flows) = &self.context.flows
            && !connection.is_told.replace(true)
        {
            flows.connection(connection);
        }
    }

    /// Counts bytes that have moved, to the endpoint and from it.
    fn count(&self, connection: &ConnectionInfo, cluster: &Cluster, (sent, received): (u64, u64)) {
        if sent > 0 {
            self.tell(connection);
        }
        let (to_server, to_client) = (sent, received);
        self.report(
            connection,
            Event::Moved {
                to_server,
                to_client,
            },
        );
        self.stats.downstream_cx_rx_bytes_total.add(sent);
        self.stats.downstream_cx_tx_bytes_total.add(received);
        cluster.stats.upstream_cx_tx_bytes_total.add(sent);
        cluster.stats.upstream_cx_rx_bytes_total.add(received);
    }

    fn report(&self, connection: &ConnectionInfo, event: Event) {
        if let Some(reporter) = &self.context.mesh_metrics {
            reporter.connection(connection, event);
        }
    }

    async fn dial(&self, connection: &ConnectionInfo) -> Result<Upstream, DialFailure> {
        let Some(chosen) = self.cluster(connection) else {
            self.stats.downstream_cx_no_route.inc();
            return Err(DialFailure {
                reason: Reason::NoCluster,
                cluster: None,
                host: None,
            });
        };
        if chosen.cluster.forwards_by_name() {
            return self.dial_by_name(&chosen.cluster, connection).await;
        }
        let ends = Ends::of(self, connection, &chosen.cluster);
        self.dial_cluster(chosen, ends, &mut Tried::default()).await
    }

    /// Dials an endpoint of the cluster and, where that fails, another, as often as configured:
    /// nothing was sent, so nothing is repeated. Those `tried` come last.
    pub(crate) async fn dial_cluster(
        &self,
        chosen: Chosen,
        ends: Ends,
        tried: &mut Tried,
    ) -> Result<Upstream, DialFailure> {
        let Chosen {
            cluster,
            metadata_match,
        } = chosen;
        let (mut failed, mut reason) = (None, Reason::NoHealthyUpstream);
        for attempt in 1.. {
            let context = LoadBalancerContext {
                hash: ends.hash,
                metadata_match: metadata_match.as_ref(),
                ..LoadBalancerContext::new(ends.destination, tried)
            };
            let Some(host) = cluster.pick(&context) else {
                break;
            };
            let host = match &ends.told {
                Some(client) => cluster.told_of(host, client),
                None => host,
            };
            match Upstream::dial_from(&cluster, &host, ends.source).await {
                Ok(upstream) => return Ok(upstream),
                Err(error) => {
                    reason = error.reason();
                    if let Some(outcome) = error.outcome() {
                        cluster.report(&host, outcome);
                    }
                }
            }
            failed = Some(host.address);
            // One whose sidecar is gone is no worse than one whose application is.
            let at_least = if host.sidecar { MAX_REDIALS } else { 1 };
            tried.note(host);
            let most = self.config.max_connect_attempts.max(at_least);
            if attempt >= most || reason == Reason::NoHealthyUpstream {
                break;
            }
        }
        Err(DialFailure {
            reason,
            cluster: Some(Arc::clone(&cluster.config)),
            host: failed,
        })
    }
}

/// Moves bytes until `ends` is ready, and then no longer: both sides are closed.
async fn relay_until(
    ends: impl Future<Output = ()>,
    connections: (&mut Connection, &mut Connection),
    buffer: (&mut Buffer, BufferLimit),
    idle_timeout: Option<Duration>,
    progress: impl Fn(u64, u64),
) -> Relayed {
    let moved = Cell::new((0, 0));
    let counting = |sent, received| {
        let (to_upstream, to_downstream) = moved.get();
        moved.set((to_upstream + sent, to_downstream + received));
        progress(sent, received);
    };
    tokio::select! {
        relayed = relay::relay(connections, buffer, idle_timeout, counting) => relayed,
        () = ends => {
            let (to_upstream, to_downstream) = moved.get();
            Relayed { to_upstream, to_downstream, end: End::Both }
        }
    }
}
