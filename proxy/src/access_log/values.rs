//! What a line may say, and where it is found.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::tls;
use crate::{
    config::{
        access_log::LogType,
        format::{
            AddressOf, AddressPart, Command, Count, FilterStateFormat, MetadataOf, Precision, Span,
            TimeOf, TimePoint,
        },
    },
    format::{Values, typed},
    info::{ConnectionInfo, Observed, Outcome, head::RequestHead},
    metadata::Metadata,
};

mod request;
mod status;

/// Finds a response header by lower-case name.
pub(crate) type ResponseLookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a line is about.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) context: &'a ConnectionInfo,
    /// Of the request, or of the connection that carries none.
    pub(crate) outcome: &'a Outcome,
    /// None for a line of a connection.
    pub(crate) request: Option<&'a dyn RequestHead>,
    /// None before there is a response.
    pub(crate) response: Option<ResponseLookup<'a>>,
    /// The client as `x-forwarded-for` has it, where that is believed.
    pub(crate) client: Option<IpAddr>,
    /// Of a connection that carries no requests.
    pub(crate) upstream_local: Option<SocketAddr>,
    pub(crate) duration_us: u64,
    pub(crate) start: SystemTime,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) route_name: &'a str,
    /// What only logs ask of a request.
    pub(crate) observed: Option<&'a Observed>,
    /// What brings the line about.
    pub(crate) log_type: LogType,
}

// === impl Facts ===

impl Values for Facts<'_> {
    fn append(&self, command: &Command, out: &mut String) -> bool {
        self.value(command, out).is_some()
    }

    fn any(&self, command: &Command) -> Option<Value> {
        match command {
            Command::Metadata(of, path) => {
                let (namespace, path) = path.split_first()?;
                let metadata = self.metadata(*of, namespace)?;
                match path {
                    [] => metadata.get(namespace).cloned().map(Value::Object),
                    path => metadata.value(namespace, path).cloned(),
                }
            }
            Command::FilterState { how, .. } if *how != FilterStateFormat::Typed => {
                let mut text = String::new();
                self.value(command, &mut text)?;
                Some(text.into())
            }
            Command::Coalesce(commands) => commands.iter().find_map(|(command, max_length)| {
                typed(self, command, *max_length).filter(|value| *value != "")
            }),
            command => {
                let mut text = String::new();
                self.value(command, &mut text)?;
                serde_json::from_str(&text).ok()
            }
        }
    }
}

impl<'a> Facts<'a> {
    /// Of a connection of which nothing has come yet.
    pub(crate) fn of_connection(context: &'a ConnectionInfo, outcome: &'a Outcome) -> Self {
        Self {
            context,
            outcome,
            request: None,
            response: None,
            client: None,
            upstream_local: None,
            duration_us: 0,
            start: SystemTime::UNIX_EPOCH,
            bytes_received: 0,
            bytes_sent: 0,
            route_name: "",
            observed: None,
            log_type: LogType::NotSet,
        }
    }

    /// Where a namespace of metadata is found. What is said of a request goes before what is said of its
    /// connection.
    pub(super) fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<&'a Metadata> {
        match of {
            MetadataOf::Route => self.observed.map(|observed| &observed.route_metadata),
            MetadataOf::Dynamic => {
                let of_request = self.observed.map(|observed| &observed.metadata);
                let of_request = of_request.filter(|it| it.get(namespace).is_some());
                Some(of_request.unwrap_or(&self.context.metadata))
            }
        }
    }

    fn value(&self, command: &Command, out: &mut String) -> Option<()> {
        let (context, outcome) = (self.context, self.outcome);
        match command {
            Command::Time(TimeOf::Start, format) => format.render(self.start, out),
            Command::Time(TimeOf::Emit, format) => format.render(SystemTime::now(), out),
            Command::Protocol => match (self.request, context.http) {
                (Some(request), _) => out.push_str(request.protocol()),
                (None, "") => return None,
                (None, protocol) => out.push_str(protocol),
            },
            Command::UpstreamProtocol => {
                let protocol = self.observed?.upstream_protocol;
                out.push_str(Some(protocol).filter(|protocol| !protocol.is_empty())?);
            }
            Command::ConnectionTerminationDetails => {
                out.push_str(context.termination_details()?);
            }
            Command::Count(count) => print(out, self.count(*count)),
            Command::Duration(span) => print(out, self.span(*span)?.as_millis()),
            Command::CommonDuration(start, end, precision) => {
                let (start, end) = (self.observed?.at(*start)?, self.observed?.at(*end)?);
                let took = end.saturating_duration_since(start);
                match precision {
                    Precision::Millis => print(out, took.as_millis()),
                    Precision::Micros => print(out, took.as_micros()),
                    Precision::Nanos => print(out, took.as_nanos()),
                }
            }
            Command::Address(of, part) => address(self.address(*of)?, *part, out)?,
            Command::UpstreamHost => print(out, outcome.upstream_host?),
            Command::UpstreamHostName { with_port } => {
                let host = outcome.upstream_host?;
                let name = self.observed.map_or("", |observed| &observed.host_name);
                print(out, Named(host, name, *with_port));
            }
            Command::UpstreamHostsAttempted { names, with_port } => {
                let attempted = self.observed?.attempted.iter().map(|(host, name)| {
                    let name = if *names { &**name } else { "" };
                    Named(*host, name, *with_port)
                });
                list(out, &attempted.collect::<Vec<_>>())?;
            }
            Command::UpstreamCluster => out.push_str(&outcome.cluster.as_ref()?.name),
            Command::ConnectionId => print(out, context.id()),
            Command::Tls(field) => tls::append(*field, context.tls.as_ref()?, out)?,
            Command::PeerCertTime { is_end, format } => {
                let names = context.tls.as_ref()?.peer_names()?;
                let seconds = if *is_end {
                    names.not_after
                } else {
                    names.not_before
                };
                let since = Duration::from_secs(u64::try_from(seconds).ok()?);
                format.render(SystemTime::UNIX_EPOCH.checked_add(since)?, out);
            }
            Command::RouteName if self.route_name.is_empty() => return None,
            Command::RouteName => out.push_str(self.route_name),
            Command::FilterChainName => {
                let name = context.chain.as_ref().map(|chain| &chain.name);
                out.push_str(name.filter(|name| !name.is_empty())?);
            }
            Command::Metadata(of, path) => {
                self.metadata(*of, path.first()?)?.print(path, out)?;
            }
            Command::FilterState { name, how } => context.filter_state.print(name, how, out)?,
            Command::Fixed(text) => out.push_str(text.as_deref()?),
            Command::AccessLogType => out.push_str(self.log_type.name()),
            Command::CustomFlags => {}
            Command::Coalesce(commands) => {
                return commands.iter().find_map(|(command, length)| {
                    let start = out.len();
                    let found = self.value(command, out).filter(|()| out.len() > start);
                    let end = length.map_or(out.len(), |length| start.saturating_add(length));
                    match found {
                        Some(()) => out.truncate(out.floor_char_boundary(end)),
                        None => out.truncate(start),
                    }
                    found
                });
            }
            command => return self.of_request(command, out),
        }
        Some(())
    }

    fn count(&self, count: Count) -> u64 {
        let observed = |of: fn(&Observed) -> u64| self.observed.map_or(0, of);
        match count {
            Count::BytesReceived => self.bytes_received,
            Count::BytesSent => self.bytes_sent,
            Count::RequestHeadersBytes => observed(|it| it.request_headers_bytes),
            Count::ResponseHeadersBytes => observed(|it| it.response_headers_bytes),
            Count::UpstreamRequestAttemptCount => observed(|it| u64::from(it.attempts)),
            Count::Retransmitted => 0,
        }
    }

    fn span(&self, span: Span) -> Option<Duration> {
        match span {
            Span::Whole => Some(Duration::from_micros(self.duration_us)),
            Span::Request => self.observed?.until(TimePoint::DownstreamRxEnd),
            Span::RequestTx => self.observed?.until(TimePoint::UpstreamTxEnd),
            Span::Response => self.observed?.until(TimePoint::UpstreamRxBegin),
            Span::ResponseTx => {
                let observed = self.observed?;
                let begin = observed.at(TimePoint::UpstreamRxBegin)?;
                let end = observed.at(TimePoint::DownstreamTxEnd)?;
                Some(end.saturating_duration_since(begin))
            }
            Span::PoolReady => self.observed?.pool_ready(),
            Span::Roundtrip => None,
        }
    }

    fn address(&self, of: AddressOf) -> Option<SocketAddr> {
        let context = self.context;
        Some(match of {
            AddressOf::DownstreamRemote => match self.client {
                // Its port is not known.
                Some(client) => SocketAddr::new(client, 0),
                None => context.remote.0,
            },
            AddressOf::DownstreamDirectRemote => context.direct_remote().0,
            AddressOf::DownstreamLocal => context.original_destination.0,
            AddressOf::DownstreamDirectLocal => context.local.0,
            AddressOf::UpstreamLocal => match self.observed {
                Some(observed) => observed.upstream_local?,
                None => self.upstream_local?,
            },
            AddressOf::UpstreamRemote => match self.observed {
                Some(observed) => observed.upstream_local.and(self.outcome.upstream_host)?,
                None => self.upstream_local.and(self.outcome.upstream_host)?,
            },
        })
    }
}

/// An endpoint, by its name where it has one.
struct Named<'n>(SocketAddr, &'n str, bool);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(address, name, with_port) = self;
        match (*name, with_port) {
            ("", true) => write!(f, "{address}"),
            ("", false) => write!(f, "{}", address.ip()),
            (name, _) => f.write_str(name),
        }
    }
}

fn address(address: SocketAddr, part: AddressPart, out: &mut String) -> Option<()> {
    match part {
        AddressPart::Whole => print(out, address),
        AddressPart::Port => print(out, address.port()),
        AddressPart::WithoutPort(None) => print(out, address.ip()),
        AddressPart::WithoutPort(Some(length)) => {
            let range = ipnet::IpNet::new(address.ip(), length).ok()?;
            print(out, range.trunc());
        }
    }
    Some(())
}

/// Values behind each other; none of none.
pub(super) fn list(out: &mut String, values: &[impl std::fmt::Display]) -> Option<()> {
    let start = out.len();
    for value in values {
        if out.len() > start {
            out.push(',');
        }
        print(out, value);
    }
    (out.len() > start).then_some(())
}

pub(super) fn print(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}
