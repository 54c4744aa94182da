//! Bounds of connections and requests.

use serde::Deserialize;
use serde_json::Value;

use super::{Refused, THE_REST, positive};
use crate::{
    model::{self, Keepalive, UpstreamHttp},
    rules::{
        Findings,
        istio::{Span, refuse},
    },
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ConnectionPool {
    tcp: Option<Tcp>,
    http: Option<Http>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Tcp {
    max_connections: Option<u32>,
    connect_timeout: Option<Span>,
    tcp_keepalive: Option<TcpKeepalive>,
    max_connection_duration: Option<Value>,
    idle_timeout: Option<Span>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TcpKeepalive {
    probes: Option<u32>,
    time: Option<Span>,
    interval: Option<Span>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Http {
    #[serde(rename = "http1MaxPendingRequests")]
    max_pending: Option<u32>,
    #[serde(rename = "http2MaxRequests")]
    max_requests: Option<u32>,
    max_requests_per_connection: Option<u32>,
    max_retries: Option<u32>,
    idle_timeout: Option<Span>,
    h2_upgrade_policy: Option<H2UpgradePolicy>,
    use_client_protocol: Option<bool>,
    max_concurrent_streams: Option<u32>,
    #[serde(rename = "http2KeepAlive")]
    http2_keep_alive: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum H2UpgradePolicy {
    Default,
    DoNotUpgrade,
    Upgrade,
}

// === impl ConnectionPool ===

impl ConnectionPool {
    pub(super) fn read(&self, at: &str, findings: &mut Findings) -> model::ConnectionPool {
        let tcp = self.tcp.as_ref();
        let http = self.http.as_ref();
        model::ConnectionPool {
            tcp: tcp
                .map(|it| it.read(&format!("{at}.tcp"), findings))
                .unwrap_or_default(),
            http: http
                .map(|it| it.read(&format!("{at}.http"), findings))
                .unwrap_or_default(),
        }
    }
}

// === impl Tcp ===

impl Tcp {
    fn read(&self, at: &str, findings: &mut Findings) -> model::TcpPool {
        let refused: &Refused<'_> = &[("maxConnectionDuration", &self.max_connection_duration)];
        refuse(at, refused, THE_REST, findings);
        let connect_timeout = self.connect_timeout.map(|it| it.0);
        if connect_timeout.is_some_and(|it| it.is_zero()) {
            findings.malformed(format!("{at}.connectTimeout"), "0 is no time: write more");
        }
        model::TcpPool {
            max_connections: positive(at, "maxConnections", self.max_connections, findings),
            connect_timeout: connect_timeout.filter(|it| !it.is_zero()),
            idle_timeout: self.idle_timeout.map(|it| it.0),
            keepalive: self
                .tcp_keepalive
                .as_ref()
                .map(|it| it.read(&format!("{at}.tcpKeepalive"), findings)),
        }
    }
}

// === impl TcpKeepalive ===

impl TcpKeepalive {
    fn read(&self, at: &str, findings: &mut Findings) -> Keepalive {
        let mut seconds = |field: &str, said: Option<Span>| {
            let said = said?.0.as_secs();
            let good = u32::try_from(said).ok().filter(|it| *it > 0);
            if good.is_none() {
                let reason = "is less than a second or more than a century: write seconds";
                findings.malformed(format!("{at}.{field}"), reason);
            }
            good
        };
        Keepalive {
            time: seconds("time", self.time),
            interval: seconds("interval", self.interval),
            probes: self.probes.filter(|it| *it > 0),
        }
    }
}

// === impl Http ===

impl Http {
    fn read(&self, at: &str, findings: &mut Findings) -> model::HttpPool {
        let refused: &Refused<'_> = &[("http2KeepAlive", &self.http2_keep_alive)];
        refuse(at, refused, THE_REST, findings);
        let is_upgrade = self.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade);
        let as_client = self.use_client_protocol == Some(true);
        if is_upgrade && as_client {
            let reason = "cannot be with h2UpgradePolicy: UPGRADE: leave out one of them";
            findings.malformed(format!("{at}.useClientProtocol"), reason);
        }
        let mut number = |field: &str, value| positive(at, field, value, findings);
        model::HttpPool {
            max_pending: number("http1MaxPendingRequests", self.max_pending),
            max_requests: number("http2MaxRequests", self.max_requests),
            // As many as there are.
            max_per_connection: self.max_requests_per_connection.filter(|it| *it > 0),
            max_retries: self.max_retries,
            max_streams: self.max_concurrent_streams.filter(|it| *it > 0),
            idle_timeout: self.idle_timeout.map(|it| it.0),
            version: match (as_client, is_upgrade) {
                (true, _) => UpstreamHttp::AsClient,
                (false, true) => UpstreamHttp::Http2,
                (false, false) => UpstreamHttp::AsDeclared,
            },
        }
    }
}
