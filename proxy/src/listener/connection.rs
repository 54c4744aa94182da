//! The life of one downstream connection: original destination, detection, filter chain, filter.

use crate::info::Detected;
use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::TcpStream;
use weir_api::identity::{INBOUND_PASSTHROUGH_V4, INBOUND_PASSTHROUGH_V6};

use super::{
    ActiveListener, ConnectionHandler, ListenerStats, active::ActiveChain,
    filter_chain::ConnectionFacts, filters,
};
use crate::{
    access_log,
    buffer::Buffer,
    cluster::Cluster,
    config::{
        access_log::LogType,
        listener::{NetworkFilter, TransportProtocol},
    },
    connection_log::ConnectionRecord,
    filter::network::{
        Held, Status, TerminalFilter, direct_response, echo, http_connection_manager,
    },
    info::ConnectionInfo,
    net::{
        address::{LocalAddr, RemoteAddr},
        original_dst::original_destination,
        read_filter::EndOfStream,
        transport_socket::Connection,
    },
    reason::Reason,
    snapshot::DestinationListener,
};

/// A downstream connection on its way to a filter, and who serves it.
pub(super) struct ActiveConnection {
    pub(super) handler: Rc<ConnectionHandler>,
    pub(super) listener: Rc<ActiveListener>,
    pub(super) info: ConnectionInfo,
    /// Where it was dialled before it was clear who speaks.
    pub(super) ahead: Option<Ahead>,
    /// Held so that the destination is not forgotten while it is in use.
    destination: Option<Arc<DestinationListener>>,
    /// On the listener's stats, once it is clear which listener serves it.
    open: Option<Open>,
    /// What network filters hold for it.
    held: Vec<Held>,
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

/// Serves one accepted connection until it ends.
pub(crate) fn serve(
    handler: Rc<ConnectionHandler>,
    listener: Rc<ActiveListener>,
    stream: TcpStream,
    remote: RemoteAddr,
) -> impl Future<Output = ()> {
    // Made here, not in the future, which would hold the parts beside the whole. A socket that is gone
    // already has nothing to be served.
    let mut accepted = stream.local_addr().ok().and_then(|local| {
        // Bytes are forwarded as they come; waiting to fill segments only adds latency.
        let _ = stream.set_nodelay(true);
        let mut connection = ActiveConnection::new(handler, listener, remote, LocalAddr(local));
        if connection.is_loop(&stream) {
            connection.listener.stats.loop_refused.inc();
            connection.info.outcome.reason = Some(Reason::Loop);
            Connection::raw(stream).reset_on_drop();
            connection.record();
            return None;
        }
        Some((connection, Some(Connection::raw(stream))))
    });
    async move {
        // Lent rather than moved, which would hold them twice.
        if let Some((connection, stream)) = &mut accepted {
            connection.run(stream).await;
            connection.open = None;
            connection.held.clear();
            connection.info.settle();
        }
        if let Some((connection, _)) = accepted {
            connection.record();
        }
    }
}

// === impl Open ===

impl Open {
    fn new(connection: &ActiveConnection) -> Self {
        let stats = Arc::clone(&connection.listener.stats);
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        let start = connection.info.start;
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
    fn fits(&self, chain: &Rc<ActiveChain>, connection: &ConnectionInfo) -> bool {
        let same = Rc::ptr_eq(&self.chain, chain);
        same || match &chain.filter {
            TerminalFilter::Tcp(filter) => {
                filter.leads_only_to(&self.cluster.config.name, connection)
            }
            TerminalFilter::Http(_) | TerminalFilter::Echo | TerminalFilter::DirectResponse(_) => {
                false
            }
        }
    }
}

// === impl ActiveConnection ===

impl ActiveConnection {
    fn new(
        handler: Rc<ConnectionHandler>,
        listener: Rc<ActiveListener>,
        remote: RemoteAddr,
        local: LocalAddr,
    ) -> Self {
        Self {
            info: ConnectionInfo::new(&listener.config, remote, local),
            handler,
            listener,
            ahead: None,
            destination: None,
            open: None,
            held: Vec::new(),
        }
    }

    /// Whether the connection is one of ours to the application that was captured again: it would
    /// come back for ever.
    fn is_loop(&self, stream: &TcpStream) -> bool {
        let ours = match self.info.remote.ip() {
            IpAddr::V4(ip) => ip == INBOUND_PASSTHROUGH_V4,
            IpAddr::V6(ip) => ip == INBOUND_PASSTHROUGH_V6,
        };
        ours && original_destination(stream, self.info.local).is_some()
    }

    /// Hands the connection over to the listener of its original destination, where there is one,
    /// and counts it on the listener that serves it. False if it stays with the one that it has.
    pub(super) async fn hand_over(&mut self) -> bool {
        if self.open.is_some() {
            return false;
        }
        let mut other = None;
        if self.listener.config.use_original_dst {
            let destination = self.info.original_destination;
            other = self.handler.destination(destination, &self.listener).await;
        }
        let hands_over = other.is_some();
        if let Some((destination, listener)) = other {
            destination.touch();
            self.destination = Some(destination);
            self.info.listener = Arc::clone(&listener.config);
            self.listener = listener;
        }
        self.open = Some(Open::new(self));
        hands_over
    }

    async fn run(&mut self, stream: &mut Option<Connection>) {
        let Some(mut stream) = stream.take() else {
            return;
        };
        let mut buffer = Buffer::of(self.listener.config.buffer_limit);
        let Some(mut dialled) = filters::run(self, &mut stream, &mut buffer).await else {
            return;
        };
        // What filters have used up is not the connection's payload.
        stream.take_traffic();
        let Some(chain) = self.choose() else {
            self.listener.stats.no_filter_chain_match.inc();
            self.info.outcome.reason = Some(self.why_no_chain());
            return;
        };
        self.info.chain = Some(Arc::clone(&chain.config));
        self.info.drain = chain.drain.clone();
        match &chain.tls {
            None => stream.note_received(buffer.len()),
            // On the heap: a connection lives longer than its handshake.
            Some(tls) => match Box::pin(tls.accept(stream, buffer.take())).await {
                Ok((connection, info)) => {
                    stream = connection;
                    self.info.tls = Some(Box::new(info));
                }
                Err(reason) => {
                    if reason == Reason::DownstreamTlsTimeout {
                        let stats = &self.listener.stats;
                        stats.downstream_cx_transport_socket_connect_timeout.inc();
                    }
                    self.info.outcome.reason = Some(reason);
                    return;
                }
            },
        }
        let mut read_filters = Vec::new();
        for filter in &chain.filters {
            match filter.on_new_connection(&mut self.info, &mut self.held, &mut read_filters) {
                Status::Continue => {}
                Status::Close(after) => {
                    self.info.bytes_received = Box::pin(close(stream, buffer, after)).await;
                    return;
                }
            }
        }
        let end = match &chain.filter {
            TerminalFilter::Tcp(_) => Some(EndOfStream::Seen),
            TerminalFilter::Http(_) | TerminalFilter::Echo => Some(EndOfStream::Unseen),
            // It answers before anything is read.
            TerminalFilter::DirectResponse(_) => None,
        };
        if let Some(end) = end {
            stream.filter_reads(read_filters, end, &mut buffer);
        }
        if let TerminalFilter::Tcp(filter) = &chain.filter {
            let fits = |ahead: &Ahead| ahead.fits(&chain, &self.info);
            if !self.ahead.as_ref().is_none_or(fits) {
                dialled = None;
            }
            let filter = Rc::clone(filter);
            let ends = (&mut stream, &mut buffer);
            return filter.serve(&mut self.info, ends, &mut dialled).await;
        }
        // On the heap: most connections that live long are TCP.
        let info = &mut self.info;
        match &chain.filter {
            TerminalFilter::Http(filter) => {
                if let Some(Ok(upstream)) = dialled {
                    // Dialled before the client spoke: the first connection of the pool.
                    self.handler.context.clusters.put_back_spare(upstream);
                }
                let filter = Rc::clone(filter);
                http_connection_manager::serve(filter, info, stream, buffer).await;
                self.note_http();
            }
            TerminalFilter::Echo => Box::pin(echo::serve(info, stream, buffer)).await,
            TerminalFilter::DirectResponse(response) => {
                Box::pin(direct_response::serve(info, stream, response)).await;
            }
            TerminalFilter::Tcp(_) => {}
        }
    }

    /// Remembers that whoever was dialled before it was clear who speaks has answered in HTTP.
    fn note_http(&mut self) {
        if let Some(ahead) = self.ahead.take()
            && self.info.outcome.was_answered()
        {
            let destination = self.info.original_destination;
            ahead.cluster.note_http_at(destination.0);
        }
    }

    fn choose(&self) -> Option<Rc<ActiveChain>> {
        let info = &self.info;
        let offered = info
            .application_protocols
            .iter()
            .map(|protocol| &**protocol);
        let transport = match info.protocol {
            Detected::Tls => TransportProtocol::Tls,
            _ => TransportProtocol::RawBuffer,
        };
        let protocols: Vec<&str> = offered.chain(info.protocol.http()).collect();
        self.choose_by(transport, &protocols)
    }

    /// Where TLS would have been served, plaintext is what is wrong.
    fn why_no_chain(&self) -> Reason {
        let with_tls = || self.choose_by(TransportProtocol::Tls, &[]);
        match self.info.protocol != Detected::Tls
            && with_tls().is_some_and(|chain| chain.tls.is_some())
        {
            true => Reason::PlaintextRefused,
            false => Reason::NoFilterChain,
        }
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
            destination: self.info.original_destination,
            source: self.info.remote,
            direct_source: self.info.direct_remote(),
            server_name: self.info.server_name.as_deref().unwrap_or_default(),
            transport_protocol,
            application_protocols,
        });
        chosen.cloned()
    }

    /// The listener's line. An HTTP connection's says nothing of what is its requests'.
    fn write_log(&self) {
        let info = &self.info;
        if info.listener.access_logs.is_empty() {
            return;
        }
        let filter = info.chain.as_ref().and_then(|chain| chain.filters.last());
        let is_http = matches!(filter, Some(NetworkFilter::HttpConnectionManager(_)));
        let of_connection = is_http.then(|| info.outcome.of_http_connection());
        let outcome = of_connection.as_ref().unwrap_or(&info.outcome);
        let writers = &self.handler.context.access_logs;
        let runtime = self.handler.context.routes.runtime();
        let line = (LogType::NotSet, outcome);
        access_log::write_connection(writers, &info.listener.access_logs, info, line, &runtime);
    }

    fn record(self) {
        self.write_log();
        let info = self.info;
        let duration_us = info.elapsed_us();
        self.handler.log.push(ConnectionRecord {
            start: info.start_time(),
            duration_us,
            listener: info.listener,
            filter_chain: info.chain,
            protocol: info.protocol.as_str(),
            cluster: info.outcome.cluster,
            upstream_host: info.outcome.upstream_host,
            downstream_remote: info.remote.0,
            original_destination: info.original_destination.0,
            server_name: info.server_name,
            requests: info.requests,
            response_code: info.outcome.response_code,
            response_flags: info.outcome.reason.map_or("", Reason::flag),
            reason: info.outcome.reason.map_or("", Reason::code),
            bytes_received: info.bytes_received,
            bytes_sent: info.bytes_sent,
        });
    }
}

/// Closes the connection of a client that a filter has refused, after a while if it says so. What
/// the client says until then is not listened to, only counted: the bytes are returned.
async fn close(mut stream: Connection, mut buffer: Buffer, after: Option<Duration>) -> u64 {
    if let Some(after) = after {
        let until_it_ends = async {
            while !matches!(
                poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await,
                Ok(0) | Err(_)
            ) {
                buffer.consume(buffer.len());
            }
        };
        let _ = tokio::time::timeout(after, until_it_ends).await;
        return stream.take_traffic().received;
    }
    if !buffer.is_empty() {
        stream.reset_on_drop();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes each connection holds from accept to close, beside its filter's: 1376 when this was
    /// written; a task takes multiples of 128, with 120 of its own. Large locals held across an await show here first.
    const LIMIT: usize = 1416;

    fn size_of_future<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_a_connection_stays_small() {
        let size = size_of_future(serve);
        assert!(size <= LIMIT, "{size} bytes");
    }
}
