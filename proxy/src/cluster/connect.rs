//! Dialling endpoints.

mod happy_eyeballs;

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket,
        sockopt::{IpBindAddressNoPort, IpTransparent},
    },
};
use socket2::{Socket, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{Cluster, Host, Outcome, transport_socket::DefaultProtocols};
use crate::{
    config,
    net::{address::OriginalSource, tls::HandshakeError, transport_socket::Connection},
    reason::Reason,
};

/// Bound of a dial of what stands in where nobody knows an endpoint. Kube-proxy's rules refuse at
/// once if they know none either, but the kernel says so once a second only; and those rules that
/// drop never say anything. A pod that has just become ready is reached in less.
const LAST_RESORT_TIMEOUT: Duration = Duration::from_millis(150);

/// A connection to an endpoint. Dropping it closes it.
pub(crate) struct Upstream {
    pub(crate) connection: Connection,
    pub(crate) host: Rc<Host>,
    pub(crate) cluster: Rc<Cluster>,
    /// Our address.
    pub(crate) local: Option<SocketAddr>,
    /// Requests it has carried.
    pub(crate) requests: u32,
    since: Instant,
}

impl AsMut<Connection> for Upstream {
    fn as_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// A dial that failed.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Refused, unreachable, or out of local resources.
    Failed,
    /// No answer within the connect timeout.
    Timeout,
    /// The cluster has as many connections as its circuit breaker allows.
    Overflow,
    /// There is no endpoint, and what stands in for one leads nowhere.
    NoEndpoint,
    /// The endpoint and we do not agree on TLS.
    Tls,
    /// A secret that TLS needs is not there yet.
    SecretsNotReady,
}

// === impl Cluster ===

impl Cluster {
    /// Whether the circuit breaker allows another connection.
    pub(super) fn may_connect(&self) -> bool {
        let allowed = self.connections.get() < self.config.circuit_breakers.max_connections;
        if !allowed {
            self.stats.upstream_cx_overflow.inc();
        }
        allowed
    }

    /// Connects to one of the addresses of a host that has several. On the heap of whoever calls: few
    /// have.
    async fn open_either(
        &self,
        host: &Host,
        source: Option<OriginalSource>,
    ) -> io::Result<TcpStream> {
        let tried = Cell::new(0_u32);
        let dial = |address| {
            // As Envoy, each counts; the first is counted already.
            if tried.replace(tried.get() + 1) > 0 {
                self.stats.upstream_cx_total.inc();
            }
            open(&self.config, address, source)
        };
        let addresses = host.addresses.as_deref().unwrap_or_default();
        happy_eyeballs::connect(addresses, dial).await
    }
}

// === impl Upstream ===

impl Upstream {
    /// Dials `host`, if the circuit breaker allows it.
    pub(crate) async fn dial(
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
        protocols: DefaultProtocols,
    ) -> Result<Self, DialError> {
        if cluster.may_connect() {
            Self::dial_now_from(cluster, host, None, protocols).await
        } else {
            Err(DialError::Overflow)
        }
    }

    /// As [`Self::dial`], for bytes of a client, from its address where there is one to leave from.
    pub(crate) async fn dial_from(
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
        source: Option<OriginalSource>,
    ) -> Result<Self, DialError> {
        if cluster.may_connect() {
            Self::dial_now_from(cluster, host, source, &[]).await
        } else {
            Err(DialError::Overflow)
        }
    }

    /// Dials `host`, whatever the circuit breaker says.
    pub(super) async fn dial_now(
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
        protocols: DefaultProtocols,
    ) -> Result<Self, DialError> {
        Self::dial_now_from(cluster, host, None, protocols).await
    }

    async fn dial_now_from(
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
        source: Option<OriginalSource>,
        protocols: DefaultProtocols,
    ) -> Result<Self, DialError> {
        let stats = &cluster.stats;
        stats.upstream_cx_total.inc();
        let since = Instant::now();
        let limit = match host.last_resort {
            true => LAST_RESORT_TIMEOUT.min(cluster.config.connect_timeout),
            false => cluster.config.connect_timeout,
        };
        let dialled = async {
            let socket = match host.addresses.as_deref() {
                Some([_, _, ..]) => Box::pin(cluster.open_either(host, source)).await?,
                _ => open(&cluster.config, host.address, source).await?,
            };
            cluster.sockets.connect(socket, host, protocols).await
        };
        let connection = match timeout(limit, dialled).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => {
                stats.upstream_cx_connect_fail.inc();
                tracing::debug!(
                    cluster = cluster.config.name, host = %host.address, %error,
                    "cannot connect to the endpoint",
                );
                return Err(match error {
                    HandshakeError::Tls(_) | HandshakeError::Closed => DialError::Tls,
                    HandshakeError::SecretsNotReady => DialError::SecretsNotReady,
                    _ if host.last_resort => DialError::NoEndpoint,
                    HandshakeError::Io(_) | HandshakeError::Timeout => DialError::Failed,
                });
            }
            Err(_) => {
                stats.upstream_cx_connect_fail.inc();
                stats.upstream_cx_connect_timeout.inc();
                return Err(match host.last_resort {
                    true => DialError::NoEndpoint,
                    false => DialError::Timeout,
                });
            }
        };
        stats
            .upstream_cx_connect_ms
            .record_us(micros(since.elapsed()));
        stats.upstream_cx_active.inc();
        cluster.connections.set(cluster.connections.get() + 1);
        Ok(Self {
            connection,
            host: Rc::clone(host),
            cluster: Rc::clone(cluster),
            local: None,
            requests: 0,
            since,
        })
    }

    /// Counts what has travelled since this was asked last.
    pub(crate) fn count_traffic(&mut self) {
        let traffic = self.connection.take_traffic();
        let stats = &self.cluster.stats;
        stats.upstream_cx_rx_bytes_total.add(traffic.received);
        stats.upstream_cx_tx_bytes_total.add(traffic.sent);
    }

    /// Our address, looked up on first use: only access logs ask.
    pub(crate) fn local_addr(&mut self) -> Option<SocketAddr> {
        self.local = self.local.or_else(|| self.connection.local_addr().ok());
        self.local
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.cluster
            .connections
            .set(self.cluster.connections.get() - 1);
        self.cluster.freed.notify_one();
        let stats = &self.cluster.stats;
        stats.upstream_cx_active.dec();
        stats.upstream_cx_destroy.inc();
        stats
            .upstream_cx_length_ms
            .record_us(micros(self.since.elapsed()));
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

async fn open(
    config: &config::Cluster,
    address: SocketAddr,
    source: Option<OriginalSource>,
) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = Socket::from(socket(
        family,
        SockType::Stream,
        flags,
        None::<SockProtocol>,
    )?);
    socket.set_tcp_nodelay(true)?;
    let same_family = |source: &&IpAddr| source.is_ipv4() == address.is_ipv4();
    let original = source.filter(|source| same_family(&&source.ip));
    if let Some(OriginalSource { mark, .. }) = original {
        // An address that is not of this machine needs it (ip(7), IP_TRANSPARENT).
        setsockopt(&socket, IpTransparent, &true)?;
        if mark != 0 {
            socket.set_mark(mark)?;
        }
    }
    let configured = config.bind_source.iter().find(same_family).copied();
    if let Some(source) = original.map(|source| source.ip).or(configured) {
        // The port is chosen at connect, when the peer is known: many more connections can leave
        // from one address (ip(7), IP_BIND_ADDRESS_NO_PORT).
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    if let Some(keepalive) = &config.tcp_keepalive {
        socket.set_tcp_keepalive(&kernel_keepalive(keepalive))?;
    }
    connect(socket, address).await
}

/// Connects, and hears of a refusal at once. Where all of the way is on this machine, as from a pod
/// to the rules of its node, an ICMP error arrives while connect(2) still runs. The kernel then only
/// notes it beside the socket, and would not act on it before the next SYN, a second later.
async fn connect(socket: Socket, address: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let stream = TcpStream::from_std(socket.into())?;
    // A future of no more than a reference: a connection holds it while it dials.
    poll_fn(|cx| stream.poll_write_ready(cx)).await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

fn kernel_keepalive(config: &config::cluster::TcpKeepalive) -> TcpKeepalive {
    let mut keepalive = TcpKeepalive::new();
    if let Some(time) = config.time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = config.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = config.probes {
        keepalive = keepalive.with_retries(probes);
    }
    keepalive
}

// === impl DialError ===

impl DialError {
    /// What it says of the endpoint; none: nothing. A circuit breaker is about the whole cluster,
    /// and secrets are ours.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Failed | Self::Tls => Some(Outcome::Failed),
            Self::Timeout => Some(Outcome::TimedOut),
            Self::Overflow | Self::NoEndpoint | Self::SecretsNotReady => None,
        }
    }

    /// What to tell the client.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Failed => Reason::ConnectFailed,
            Self::Timeout => Reason::ConnectTimeout,
            Self::Overflow => Reason::Overflow,
            Self::NoEndpoint => Reason::NoHealthyUpstream,
            Self::Tls => Reason::UpstreamTls,
            Self::SecretsNotReady => Reason::UpstreamSecretsNotReady,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use socket2::{Domain, SockRef, Socket, Type};

    use super::{super::fixture, *};

    fn cluster(fields: &str) -> Rc<Cluster> {
        Rc::new(Cluster::new(&fixture::config(fields), Arc::default(), None))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn connections_have_the_keepalive_of_their_cluster() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let address = listener.as_ref().expect("a port").local_addr();
        let cluster = cluster(
            "upstream_connection_options: { tcp_keepalive: \
             { keepalive_probes: 3, keepalive_time: 11, keepalive_interval: 7 } }",
        );
        let stream = open(&cluster.config, address.expect("bound"), None).await;
        let stream = stream.expect("connected");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("keepalive"));
        assert_eq!(socket.tcp_keepalive_retries().expect("probes"), 3);
        let seconds = Duration::from_secs;
        assert_eq!(socket.tcp_keepalive_time().expect("time"), seconds(11));
        assert_eq!(
            socket.tcp_keepalive_interval().expect("interval"),
            seconds(7)
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_source_address_of_the_endpoints_family_is_used() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let address = listener.as_ref().expect("a port").local_addr();
        let cluster = cluster(
            "upstream_bind_config: { source_address: { address: '::1', port_value: 0 }, \
             extra_source_addresses: [ { address: { address: 127.0.0.9, port_value: 0 } } ] }",
        );
        let stream = open(&cluster.config, address.expect("bound"), None).await;
        let local = stream.expect("connected").local_addr().expect("an address");
        assert_eq!(local.ip(), IpAddr::from([127, 0, 0, 9]));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_dial_that_nobody_answers_ends_in_time() {
        // A full backlog: further handshakes are not completed.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        full.bind(&any.into()).expect("a port");
        full.listen(0).expect("listening");
        let address = full.local_addr().expect("bound").as_socket();
        let address = address.expect("an address");
        let _waiting = std::net::TcpStream::connect(address).expect("the only one");
        let cluster = cluster("connect_timeout: 0.1s");
        let host = Rc::new(Host::new(&config::endpoint::Endpoint::at(address), 0));
        let dialled = Upstream::dial(&cluster, &host, &[]).await;
        assert!(matches!(dialled, Err(DialError::Timeout)));
    }
}
