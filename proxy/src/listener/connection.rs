//! The life of one downstream connection: original destination, detection, filter chain, filter.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::net::TcpStream;
use weir_api::identity::{INBOUND_PASSTHROUGH_V4, INBOUND_PASSTHROUGH_V6};

use super::{
    ActiveFilter, ActiveListener, ListenerStats,
    active::ActiveChain,
    detect::{self, Detection},
    filter_chain::ConnectionFacts,
    original_dst::original_destination,
};
use crate::{
    access_log,
    buffer::Buffer,
    cluster::{Cluster, Upstream},
    config::{
        self,
        listener::{ListenerFilter, TrafficDirection, TransportProtocol},
    },
    connection_log::ConnectionRecord,
    filter::network::tcp_proxy::DialFailure,
    net::transport_socket::Connection,
    reason::Reason,
    snapshot::DestinationListener,
    worker::Worker,
};

/// What is known of a downstream connection, and what becomes of it.
pub(crate) struct ConnectionContext {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Rc<ActiveListener>,
    pub(crate) chain: Option<Rc<ActiveChain>>,
    /// The peer.
    pub(crate) remote: SocketAddr,
    /// The address the peer's packets arrived at, after redirection.
    pub(crate) local: SocketAddr,
    /// Where the peer wanted to go; `local` if it was not redirected.
    pub(crate) original_destination: SocketAddr,
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) protocol: &'static str,
    pub(crate) start: Instant,
    pub(crate) start_time: SystemTime,
    pub(crate) outcome: Outcome,
    /// Requests, of an HTTP connection.
    pub(crate) requests: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Version of its last request; empty if there was none.
    pub(crate) http: &'static str,
    /// Our address towards a TCP connection's endpoint, where a log asks.
    pub(crate) upstream_local: Option<SocketAddr>,
    /// Where it was dialled before it was clear who speaks.
    pub(super) ahead: Option<Ahead>,
    /// Held so that the destination is not forgotten while it is in use.
    _destination: Option<Arc<DestinationListener>>,
}

/// A connection on the listener's stats, whatever ends it.
struct Open {
    stats: Arc<ListenerStats>,
    start: Instant,
}

/// A dial before the filter chain was known.
pub(super) struct Ahead {
    /// The chain of a client that never speaks.
    pub(super) chain: Rc<ActiveChain>,
    /// The cluster it chose.
    pub(super) cluster: Rc<Cluster>,
}

/// What became of a request, or of a connection that carries none. An HTTP connection keeps that of
/// its last request.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) cluster: Option<Arc<config::Cluster>>,
    pub(crate) upstream_host: Option<SocketAddr>,
    pub(crate) response_code: u16,
    pub(crate) reason: Option<Reason>,
}

/// Serves one accepted connection until it ends.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Rc<ActiveListener>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    // A socket that is gone already has nothing to be served.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Bytes are forwarded as they come; waiting to fill segments only adds latency.
    let _ = stream.set_nodelay(true);
    let mut context = ConnectionContext::new(worker, listener, remote, local);
    if context.is_loop(&stream) {
        context.listener.stats.loop_refused.inc();
        context.outcome.reason = Some(Reason::Loop);
        Connection::Raw(stream).reset_on_drop();
        return context.record();
    }
    context.find_destination(&stream).await;
    let open = Open::new(&context);
    context.run(Connection::Raw(stream)).await;
    drop(open);
    context.record();
}

// === impl Open ===

impl Open {
    fn new(context: &ConnectionContext) -> Self {
        let stats = Arc::clone(&context.listener.stats);
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        let start = context.start;
        Self { stats, start }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stats.downstream_cx_active.dec();
        self.stats.downstream_cx_destroy.inc();
        let length = crate::cluster::micros(self.start.elapsed());
        self.stats.downstream_cx_length_ms.record_us(length);
    }
}

// === impl Ahead ===

impl Ahead {
    /// Whether what came of the dial may serve a connection of `chain`: not if that leads elsewhere.
    fn fits(&self, chain: &Rc<ActiveChain>) -> bool {
        let same = Rc::ptr_eq(&self.chain, chain);
        same || match &chain.filter {
            ActiveFilter::Tcp(filter) => filter.leads_only_to(&self.cluster.config.name),
            ActiveFilter::Http(_) => false,
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// What is the connection's own and not its last request's, as Envoy tells them apart.
    fn of_http_connection(&self) -> Self {
        Self {
            reason: self.reason.filter(|reason| reason.flag() == "DPE"),
            ..Self::default()
        }
    }

    /// Whether the endpoint of the last request answered it.
    fn was_answered(&self) -> bool {
        self.upstream_host.is_some() && self.response_code != 0 && self.reason.is_none()
    }
}

// === impl ConnectionContext ===

impl ConnectionContext {
    fn new(
        worker: Rc<Worker>,
        listener: Rc<ActiveListener>,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> Self {
        Self {
            worker,
            listener,
            chain: None,
            remote,
            local,
            original_destination: local,
            server_name: None,
            protocol: "",
            start: Instant::now(),
            start_time: SystemTime::now(),
            outcome: Outcome::default(),
            requests: 0,
            http: "",
            upstream_local: None,
            bytes_received: 0,
            bytes_sent: 0,
            ahead: None,
            _destination: None,
        }
    }

    pub(crate) fn elapsed_us(&self) -> u64 {
        crate::cluster::micros(self.start.elapsed())
    }

    /// Whether clients of this connection are to go elsewhere after their current request.
    pub(crate) fn is_draining(&self) -> bool {
        self.chain.as_ref().is_some_and(|chain| chain.is_draining())
    }

    /// Whether the connection is for the application of this pod.
    pub(crate) fn is_inbound(&self) -> bool {
        self.listener.config.direction == TrafficDirection::Inbound
    }

    /// Whether the connection is one of ours to the application that was captured again: it would
    /// come back for ever.
    fn is_loop(&self, stream: &TcpStream) -> bool {
        let ours = match self.remote.ip() {
            IpAddr::V4(ip) => ip == INBOUND_PASSTHROUGH_V4,
            IpAddr::V6(ip) => ip == INBOUND_PASSTHROUGH_V6,
        };
        ours && original_destination(stream, self.local).is_some()
    }

    /// Reads the original destination, and hands the connection to the listener that serves it.
    async fn find_destination(&mut self, stream: &TcpStream) {
        if self.listener.has(&ListenerFilter::OriginalDst) {
            match original_destination(stream, self.local) {
                Some(destination) => self.original_destination = destination,
                None => self.listener.stats.original_dst_missing.inc(),
            }
        }
        if !self.listener.config.use_original_dst {
            return;
        }
        let destination = self.original_destination;
        if let Some((destination, listener)) =
            self.worker.destination(destination, &self.listener).await
        {
            destination.touch();
            self._destination = Some(destination);
            self.listener = listener;
        }
    }

    async fn run(&mut self, mut stream: Connection) {
        let mut buffer = Buffer::default();
        let Some(detection) = detect::detect(self, &mut stream, &mut buffer).await else {
            return;
        };
        let (facts, mut upstream) = self.take_facts(detection);
        let Some(chain) = self.choose(&facts) else {
            self.listener.stats.no_filter_chain_match.inc();
            self.outcome.reason = Some(Reason::NoFilterChain);
            return;
        };
        self.chain = Some(Rc::clone(&chain));
        match &chain.filter {
            ActiveFilter::Tcp(filter) => {
                if !self.ahead.as_ref().is_none_or(|ahead| ahead.fits(&chain)) {
                    upstream = None;
                }
                Rc::clone(filter)
                    .serve(self, stream, buffer, &mut upstream)
                    .await;
            }
            ActiveFilter::Http(filter) => {
                if let Some(Ok(upstream)) = upstream {
                    // Dialled before the client spoke: the first connection of the pool.
                    self.worker.clusters.put_back_spare(upstream);
                }
                Box::pin(Rc::clone(filter).serve(self, stream, buffer)).await;
                if let Some(ahead) = self.ahead.take()
                    && self.outcome.was_answered()
                {
                    ahead.cluster.note_http_at(self.original_destination);
                }
            }
        }
    }

    fn take_facts(
        &mut self,
        detection: Detection,
    ) -> (DetectedFacts, Option<Result<Upstream, DialFailure>>) {
        let mut facts = DetectedFacts::default();
        if let Some(hello) = detection.tls {
            self.server_name.clone_from(&hello.server_name);
            self.protocol = "tls";
            facts.tls = true;
            facts.application_protocols = hello.application_protocols;
        } else if let Some(version) = detection.http {
            self.protocol = version.application_protocol();
            facts.http = Some(version.application_protocol());
        } else if !detection.silent {
            self.protocol = "tcp";
        }
        (facts, detection.upstream)
    }

    fn choose(&self, facts: &DetectedFacts) -> Option<Rc<ActiveChain>> {
        let alpn = facts
            .application_protocols
            .iter()
            .map(|protocol| &**protocol);
        let protocols: Vec<&str> = alpn.chain(facts.http).collect();
        let transport_protocol = match facts.tls {
            true => TransportProtocol::Tls,
            false => TransportProtocol::RawBuffer,
        };
        self.choose_by(transport_protocol, &protocols)
    }

    /// The chain for a connection whose client has said nothing.
    pub(super) fn choose_silent(&self) -> Option<Rc<ActiveChain>> {
        self.choose_by(TransportProtocol::RawBuffer, &[])
    }

    fn choose_by(
        &self,
        transport_protocol: TransportProtocol,
        application_protocols: &[&str],
    ) -> Option<Rc<ActiveChain>> {
        let chosen = self.listener.choose(&ConnectionFacts {
            destination: self.original_destination,
            source: self.remote,
            server_name: self.server_name.as_deref().unwrap_or_default(),
            transport_protocol,
            application_protocols,
        });
        chosen.cloned()
    }

    /// The listener's line. An HTTP connection's says nothing of what is its requests'.
    fn write_log(&self) {
        let chain = self.chain.as_ref();
        let is_http = chain.is_some_and(|chain| matches!(chain.filter, ActiveFilter::Http(_)));
        let of_connection = is_http.then(|| self.outcome.of_http_connection());
        let outcome = of_connection.as_ref().unwrap_or(&self.outcome);
        access_log::write_connection(&self.listener.config.access_logs, self, outcome);
    }

    fn record(self) {
        self.write_log();
        let duration_us = self.elapsed_us();
        self.worker.log.push(ConnectionRecord {
            start: self.start_time,
            duration_us,
            listener: Arc::clone(&self.listener.config),
            filter_chain: self.chain.map(|chain| Arc::clone(&chain.config)),
            protocol: self.protocol,
            cluster: self.outcome.cluster,
            upstream_host: self.outcome.upstream_host,
            downstream_remote: self.remote,
            original_destination: self.original_destination,
            server_name: self.server_name,
            requests: self.requests,
            response_code: self.outcome.response_code,
            response_flags: self.outcome.reason.map_or("", Reason::flag),
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
        });
    }
}

#[derive(Default)]
struct DetectedFacts {
    tls: bool,
    application_protocols: Vec<Box<str>>,
    http: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes each connection holds from accept to close, beside its filter's: 1384 when this was
    /// written. Large locals held across an await show here first.
    const LIMIT: usize = 1536;

    fn size_of_future<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_a_connection_stays_small() {
        let size = size_of_future(serve);
        assert!(size <= LIMIT, "{size} bytes");
    }
}
