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

use super::{Cluster, Host, Outcome, limits::ConnectionLeave, transport_socket::DefaultProtocols};
use crate::{
    config::{self, circuit_breakers::RoutingPriority},
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
    /// Our address, where somebody has asked.
    local: Option<Box<SocketAddr>>,
    /// Requests it has carried.
    pub(crate) requests: u32,
    /// Its handshake has decided for HTTP/2.
    pub(super) speaks_http2: bool,
    since: Instant,
    #[expect(dead_code, reason = "held")]
    leave: ConnectionLeave,
}

impl AsMut<Connection> for Upstream {
    fn as_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// A dial, which counts among the connections of its host until it fails or is given up.
struct Connecting<'h>(&'h Host);

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
    /// Whether a connection takes no further request, for those that it has carried or for its age.
    /// Counted, so that it is not to be asked again.
    pub(super) fn has_worn(&self, requests: u32, since: Instant) -> bool {
        let config = &self.config;
        let most = config.max_requests_per_connection;
        let age = config.max_connection_duration;
        if most.is_some_and(|most| requests >= most) {
            self.stats.upstream_cx_max_requests.inc();
            true
        } else if age.is_some_and(|age| since.elapsed() >= age) {
            self.stats.upstream_cx_max_duration_reached.inc();
            true
        } else {
            false
        }
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
    /// Dials `host` for bytes of a client, from its address where there is one to leave from, if the
    /// circuit breaker allows it.
    pub(crate) async fn dial_from(
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
        source: Option<OriginalSource>,
    ) -> Result<Self, DialError> {
        let leave = cluster.connection_leave(host.address, RoutingPriority::Default, false);
        let leave = leave.ok_or(DialError::Overflow)?;
        Self::dial_with(leave, cluster, host, source, &[]).await
    }

    /// Dials `host`, with leave to do so.
    pub(super) async fn dial_with(
        leave: ConnectionLeave,
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
        source: Option<OriginalSource>,
        protocols: DefaultProtocols,
    ) -> Result<Self, DialError> {
        let stats = &cluster.stats;
        stats.upstream_cx_total.inc();
        let connecting = Connecting::new(host);
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
        let (connection, speaks_http2) = match timeout(limit, dialled).await {
            Ok(Ok((connection, speaks_http2))) => (connection, speaks_http2),
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
        connecting.succeed();
        Ok(Self {
            connection,
            leave,
            host: Rc::clone(host),
            cluster: Rc::clone(cluster),
            local: None,
            requests: 0,
            speaks_http2,
            since,
        })
    }

    /// Whether it has carried as many requests as it may, or is as old as it may be.
    pub(super) fn is_worn(&self) -> bool {
        self.cluster.has_worn(self.requests, self.since)
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
        if self.local.is_none() {
            self.local = self.connection.local_addr().ok().map(Box::new);
        }
        self.local.as_deref().copied()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.host.add_connections(-1);
        let stats = &self.cluster.stats;
        stats.upstream_cx_active.dec();
        stats.upstream_cx_destroy.inc();
        stats
            .upstream_cx_length_ms
            .record_us(micros(self.since.elapsed()));
    }
}

// === impl Connecting ===

impl<'h> Connecting<'h> {
    fn new(host: &'h Host) -> Self {
        host.add_connections(1);
        Self(host)
    }

    /// From here on the connection counts.
    fn succeed(self) {
        std::mem::forget(self);
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.add_connections(-1);
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) async fn open(
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
        let endpoint = config::endpoint::Endpoint::at(address).into();
        let host = Rc::new(Host::new(&endpoint, (0, 0)));
        let dialled = Upstream::dial_from(&cluster, &host, None).await;
        assert!(matches!(dialled, Err(DialError::Timeout)));
    }
}
