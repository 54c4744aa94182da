//! What logs, header formats, filters and stats may ask of a connection: plain values, which the
//! listener and the filters fill in as they learn them.

mod detected;
mod drain;
pub mod head;
mod observed;
pub mod request_id;
mod upstream_peer;

use std::{
    cell::Cell,
    hash::{Hash, Hasher},
    net::SocketAddr,
    num::NonZeroU8,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use crate::{
    config::{
        self, Cluster,
        listener::{FilterChain, TrafficDirection},
    },
    metadata::{FilterState, Metadata, PASSED_TLVS},
    net::{
        address::{LocalAddr, OriginalDst, OriginalSource, RemoteAddr},
        proxy_header::Client,
        tls::TlsInfo,
    },
    reason::Reason,
};

pub(crate) use detected::Detected;
pub(crate) use drain::Drain;
pub(crate) use observed::Observed;
pub(crate) use upstream_peer::UpstreamPeer;

/// What is known of a downstream connection, and what becomes of it.
pub(crate) struct ConnectionInfo {
    /// The listener that serves it.
    pub(crate) listener: Arc<config::Listener>,
    /// The filter chain that serves it, once it is chosen.
    pub(crate) chain: Option<Arc<FilterChain>>,
    /// Whether that chain drains.
    pub(crate) drain: Drain,
    /// The client.
    pub(crate) remote: RemoteAddr,
    /// The other end of the socket, where a PROXY protocol header names another client. On the heap,
    /// since that is seldom so.
    pub(crate) proxy: Option<Box<RemoteAddr>>,
    /// The address the client's packets arrived at, after redirection.
    pub(crate) local: LocalAddr,
    /// Where the client wanted to go; `local` if it was not redirected.
    pub(crate) original_destination: OriginalDst,
    /// SNI, lower case.
    pub(crate) server_name: Option<Box<str>>,
    /// ALPN, in the client's order.
    pub(crate) application_protocols: Box<[Box<str>]>,
    /// Where connections to endpoints leave from, if not from an address of ours.
    pub(crate) source: Option<OriginalSource>,
    /// What its handshake has agreed on, if it speaks TLS with us.
    pub(crate) tls: Option<Box<TlsInfo>>,
    /// What filters left for formats and logs.
    pub(crate) metadata: Metadata,
    /// What filters left for those behind them.
    pub(crate) filter_state: FilterState,
    /// What its first bytes have shown.
    pub(crate) protocol: Detected,
    pub(crate) start: Instant,
    /// What filters have found out, which holds once its bytes come.
    pub(crate) findings: Option<Box<Findings>>,
    /// It was counted as a flow.
    pub(crate) is_told: Cell<bool>,
    /// What became of it, or of the last of its requests.
    pub(crate) outcome: Outcome,
    /// Requests, of an HTTP connection.
    pub(crate) requests: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Version of its last request; empty if there was none.
    pub(crate) http: &'static str,
    /// Our address towards a TCP connection's endpoint, where a log asks.
    pub(crate) upstream_local: Option<Box<SocketAddr>>,
}

/// What filters have found out, in the order of their chain.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Rc<Finding>>);

/// What a filter has found out about a connection whose bytes have not come yet.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    /// What it says to others, by namespace.
    pub(crate) metadata: Vec<(&'static str, Map<String, Value>)>,
    /// Why it refuses the connection, if it does: `%CONNECTION_TERMINATION_DETAILS%`.
    pub(crate) refusal: Option<String>,
    /// The bytes have come.
    pub(crate) holds: Cell<bool>,
}

/// What became of a request, or of a connection that carries none. An HTTP connection keeps that of
/// its last request.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Payload of the request, bytes.
    pub(crate) bytes_received: u64,
    /// Payload of the response, bytes.
    pub(crate) bytes_sent: u64,
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) upstream_host: Option<SocketAddr>,
    /// Who is behind the endpoint.
    pub(crate) peer: Option<Rc<UpstreamPeer>>,
    pub(crate) response_code: u16,
    /// Of a call of gRPC, if its response had one.
    pub(crate) grpc_status: Option<GrpcStatus>,
    pub(crate) reason: Option<Reason>,
    /// The policy would have it sent again, but not so often (`URX`).
    pub(crate) is_exhausted: bool,
    /// `%RESPONSE_CODE_DETAILS%`, where it says more than the reason.
    #[expect(
        clippy::box_collection,
        reason = "each connection has room for it, and few need it"
    )]
    pub(crate) details: Option<Box<String>>,
    /// A delay was injected.
    pub(crate) is_delayed: bool,
}

/// Value of `grpc-status`, in one byte even where there may be none: one more than it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GrpcStatus(NonZeroU8);

// === impl GrpcStatus ===

impl GrpcStatus {
    /// None for what is no status.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let status: u8 = std::str::from_utf8(value).ok()?.parse().ok()?;
        NonZeroU8::new(status.checked_add(1)?).map(Self)
    }

    pub(crate) fn code(self) -> u8 {
        self.0.get() - 1
    }

    /// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>, the other way round,
    /// as Envoy does it.
    pub(crate) fn http_status(self) -> u16 {
        match self.code() {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        }
    }
}

// === impl ConnectionInfo ===

impl ConnectionInfo {
    /// Its client, as endpoints are told of it.
    pub(crate) fn as_client(&self) -> Client {
        let tlvs = self.filter_state.get(PASSED_TLVS);
        let tlvs = tlvs.and_then(|tlvs| STANDARD.decode(tlvs).ok());
        Client {
            ends: (self.remote.0, self.original_destination.0),
            tlvs: tlvs.unwrap_or_default(),
        }
    }

    /// Of a connection that was just accepted.
    pub(crate) fn new(
        listener: &Arc<config::Listener>,
        remote: RemoteAddr,
        local: LocalAddr,
    ) -> Self {
        Self {
            listener: Arc::clone(listener),
            chain: None,
            drain: Drain::default(),
            remote,
            proxy: None,
            local,
            original_destination: OriginalDst(local.0),
            server_name: None,
            application_protocols: Box::default(),
            source: None,
            tls: None,
            metadata: Metadata::default(),
            filter_state: FilterState::default(),
            protocol: Detected::Nothing,
            findings: None,
            is_told: Cell::new(false),
            start: Instant::now(),
            outcome: Outcome::default(),
            requests: 0,
            bytes_received: 0,
            bytes_sent: 0,
            http: "",
            upstream_local: None,
        }
    }

    /// The other end of the socket.
    pub(crate) fn direct_remote(&self) -> RemoteAddr {
        self.proxy.as_deref().copied().unwrap_or(self.remote)
    }

    /// When it was accepted, by the clock as it is now.
    pub(crate) fn start_time(&self) -> SystemTime {
        let now = SystemTime::now();
        now.checked_sub(self.start.elapsed()).unwrap_or(now)
    }

    /// A number of its own, the same in all of its logs. Made of what tells connections apart, so that
    /// nothing is kept for it; 53 bits, which numbers in JSON can have.
    pub(crate) fn id(&self) -> u64 {
        let mut hasher = twox_hash::XxHash64::default();
        (self.direct_remote().0, self.local.0, self.start).hash(&mut hasher);
        hasher.finish() >> 11
    }

    pub(crate) fn elapsed_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether clients of this connection are to go elsewhere after their current request.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }

    /// The protocol that the client and we have agreed on by ALPN.
    pub(crate) fn negotiated_protocol(&self) -> Option<&str> {
        self.tls.as_ref()?.application_protocol.as_deref()
    }

    /// Lets others see what filters have found out, where it holds by now.
    pub(crate) fn settle(&mut self) {
        for finding in self.findings.iter().flat_map(|findings| findings.held()) {
            for (namespace, said) in &finding.metadata {
                self.metadata.merge(namespace, said.clone());
            }
        }
    }

    /// `%CONNECTION_TERMINATION_DETAILS%`
    pub(crate) fn termination_details(&self) -> Option<&str> {
        let mut held = self.findings.iter().flat_map(|findings| findings.held());
        held.find_map(|finding| finding.refusal.as_deref())
    }

    /// Whether a filter refuses it, once its bytes come.
    pub(crate) fn is_refused(&self) -> bool {
        let mut findings = self.findings.iter().flat_map(|findings| &findings.0);
        findings.any(|finding| finding.refusal.is_some())
    }

    /// Whether the connection is for the application of this pod.
    pub(crate) fn is_inbound(&self) -> bool {
        self.listener.direction == TrafficDirection::Inbound
    }
}

// === impl Findings ===

impl Findings {
    pub(crate) fn push(&mut self, finding: Rc<Finding>) {
        self.0.push(finding);
    }

    /// Those that hold by now.
    fn held(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.0.iter().map(|finding| &**finding);
        findings.filter(|finding| finding.holds.get())
    }
}

// === impl Outcome ===

impl Outcome {
    /// What is the connection's own and not its last request's, as Envoy tells them apart.
    pub(crate) fn of_http_connection(&self) -> Self {
        Self {
            reason: self.reason.filter(|reason| reason.flag() == "DPE"),
            ..Self::default()
        }
    }

    /// `%RESPONSE_FLAGS%`, in Envoy's order; empty ones are none.
    pub(crate) fn response_flags(&self) -> [&'static str; 3] {
        let flag = self.reason.map_or("", Reason::flag);
        let delay = if self.is_delayed { "DI" } else { "" };
        let is_before = matches!(flag, "UH" | "UT" | "UR" | "UF" | "UC" | "UO" | "NR");
        let exhausted = if self.is_exhausted { "URX" } else { "" };
        match is_before {
            true => [flag, delay, exhausted],
            false => [delay, flag, exhausted],
        }
    }

    /// Whether the endpoint of the last request answered it.
    pub(crate) fn was_answered(&self) -> bool {
        self.upstream_host.is_some() && self.response_code != 0 && self.reason.is_none()
    }
}
