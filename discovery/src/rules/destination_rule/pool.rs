//! Bounds of connections and requests.

use std::time::Duration;

use serde::Deserialize;

use super::positive;
use crate::{
    model::{self, Keepalive, UpstreamHttp},
    rules::{Findings, istio::Span},
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::rules) struct ConnectionPool {
    tcp: Option<Tcp>,
    http: Option<Http>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Tcp {
    max_connections: Option<u32>,
    connect_timeout: Option<Span>,
    tcp_keepalive: Option<TcpKeepalive>,
    max_connection_duration: Option<Span>,
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
    http2_keep_alive: Option<Http2KeepAlive>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Http2KeepAlive {
    interval: Option<Span>,
    timeout: Option<Span>,
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
    pub(in crate::rules) fn read(
        &self,
        at: &str,
        findings: &mut Findings,
    ) -> model::ConnectionPool {
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
        let connect_timeout = self.connect_timeout.map(|it| it.0);
        if connect_timeout.is_some_and(|it| it.is_zero()) {
            findings.malformed(format!("{at}.connectTimeout"), "0 is no time: write more");
        }
        model::TcpPool {
            max_connections: positive(at, "maxConnections", self.max_connections, findings),
            connect_timeout: connect_timeout.filter(|it| !it.is_zero()),
            idle_timeout: self.idle_timeout.map(|it| it.0),
            max_duration: self.max_duration(at, findings),
            keepalive: self
                .tcp_keepalive
                .as_ref()
                .map(|it| it.read(&format!("{at}.tcpKeepalive"), findings)),
        }
    }
}

impl Tcp {
    fn max_duration(&self, at: &str, findings: &mut Findings) -> Option<Duration> {
        let said = self.max_connection_duration?.0;
        let at = format!("{at}.maxConnectionDuration");
        if said.is_zero() {
            findings.malformed(at, "0 is no time: write more");
            return None;
        }
        let reason = "is that of connections for HTTP: those that are not looked into last as long as \
                      their ends like";
        findings.warned(at, reason);
        Some(said)
    }
}

// === impl Http2KeepAlive ===

impl Http2KeepAlive {
    /// Between two questions, and how long an answer is waited for.
    fn read(&self, at: &str, findings: &mut Findings) -> Option<(Duration, Duration)> {
        /// Less is refused by Envoy, and by sidecars.
        const LEAST: Duration = Duration::from_millis(1);

        let mut time = |field: &str, said: Option<Span>| {
            let said = said.map(|it| it.0).filter(|it| *it >= LEAST);
            if said.is_none() {
                let reason = "is missing or less than 1ms: write it";
                findings.malformed(format!("{at}.{field}"), reason);
            }
            said
        };
        let (interval, timeout) = (
            time("interval", self.interval),
            time("timeout", self.timeout),
        );
        Some((interval?, timeout?))
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
        let is_upgrade = self.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade);
        let as_client = self.use_client_protocol == Some(true);
        if is_upgrade && as_client {
            let reason = "cannot be with h2UpgradePolicy: UPGRADE: leave out one of them";
            findings.malformed(format!("{at}.useClientProtocol"), reason);
        }
        let keep_alive = self.http2_keep_alive.as_ref();
        let keep_alive =
            keep_alive.and_then(|it| it.read(&format!("{at}.http2KeepAlive"), findings));
        let mut number = |field: &str, value| positive(at, field, value, findings);
        model::HttpPool {
            max_pending: number("http1MaxPendingRequests", self.max_pending),
            max_requests: number("http2MaxRequests", self.max_requests),
            // As many as there are.
            max_per_connection: self.max_requests_per_connection.filter(|it| *it > 0),
            max_retries: self.max_retries,
            max_streams: self.max_concurrent_streams.filter(|it| *it > 0),
            idle_timeout: self.idle_timeout.map(|it| it.0),
            keep_alive,
            version: match (as_client, is_upgrade) {
                (true, _) => UpstreamHttp::AsClient,
                (false, true) => UpstreamHttp::Http2,
                (false, false) => UpstreamHttp::AsDeclared,
            },
        }
    }
}
