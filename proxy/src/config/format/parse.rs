//! Reading of format strings.

use serde_json::Value;

use super::{
    AddressOf, AddressPart, Command, Count, FilterStateFormat, Format, Formatters,
    GrpcStatusFormat, HostSource, MetadataOf, Part, PathSource, Precision, ServerNameChoice, Side,
    Span, TimeFormat, TimeOf, TimePoint, TlsField,
};

/// A format string that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` without its partner; a lone `%` is written `%%`.
    #[error("format {0:?} has a '%' that begins no command; write '%%' for a percent sign")]
    LonePercent(String),
    /// A command that does not exist or is not supported.
    #[error("format command %{0}% is not supported")]
    Unsupported(String),
    /// A command in a header whose value only access logs know.
    #[error("format {0:?} has a command that is supported in access logs only")]
    OnlyInLogs(String),
}

/// A command as it is written.
struct Written<'t> {
    name: &'t str,
    /// What stands in parentheses; empty without them.
    argument: &'t str,
    max_length: Option<usize>,
    /// What follows its `%`.
    rest: &'t str,
    /// All of it without the percent signs.
    text: &'t str,
}

pub(super) fn parse(text: &str, formatters: Formatters) -> Result<Format, FormatError> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(percent) = rest.find('%') {
        literal.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let written = Written::read(rest);
        let written = written.ok_or_else(|| FormatError::LonePercent(text.to_owned()))?;
        let command = command(written.name, written.argument, formatters);
        let command = command.ok_or_else(|| FormatError::Unsupported(written.text.to_owned()))?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Command {
            command,
            max_length: written.max_length,
        });
        rest = written.rest;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(Format { parts })
}

// === impl Written ===

impl<'t> Written<'t> {
    /// `NAME`, `NAME(argument)`, either with `:length`, and a `%`. As in Envoy an argument ends with the
    /// first parenthesis, and may hold percent signs.
    fn read(from: &'t str) -> Option<Self> {
        let is_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let name_end = from.find(|c| !is_of_name(c))?;
        let (name, mut rest) = from.split_at(name_end);
        if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
            return None;
        }
        let mut argument = "";
        if let Some(inner) = rest.strip_prefix('(') {
            (argument, rest) = inner.split_once(')')?;
        }
        let mut max_length = None;
        if let Some(length) = rest.strip_prefix(':') {
            let end = length.find('%')?;
            max_length = Some(length[..end].parse().ok()?);
            rest = &length[end..];
        }
        let after = rest.strip_prefix('%')?;
        Some(Self {
            name,
            argument,
            max_length,
            rest: after,
            text: &from[..from.len() - after.len() - 1],
        })
    }
}

/// None for one that is not supported.
fn command(name: &str, argument: &str, formatters: Formatters) -> Option<Command> {
    if argument.is_empty() {
        return plain(name);
    }
    Some(match name {
        "REQ" | "REQUEST_HEADER" => header(Command::RequestHeader, argument),
        "RESP" | "RESPONSE_HEADER" => header(Command::ResponseHeader, argument),
        "REQ_WITHOUT_QUERY" if formatters.req_without_query => {
            header(Command::RequestHeaderWithoutQuery, argument)
        }
        "DYNAMIC_METADATA" => Command::Metadata(MetadataOf::Dynamic, path(argument)),
        "METADATA" => {
            let (of, path_of) = argument.split_once(':')?;
            let of = match of {
                "DYNAMIC" => MetadataOf::Dynamic,
                "ROUTE" => MetadataOf::Route,
                _ => return None,
            };
            Command::Metadata(of, path(path_of))
        }
        "FILTER_STATE" => filter_state(argument)?,
        "START_TIME" => Command::Time(TimeOf::Start, TimeFormat::parse(argument)?),
        "EMIT_TIME" => Command::Time(TimeOf::Emit, TimeFormat::parse(argument)?),
        "DOWNSTREAM_PEER_CERT_V_START" | "DOWNSTREAM_PEER_CERT_V_END" => Command::PeerCertTime {
            is_end: name.ends_with("END"),
            format: TimeFormat::parse(argument)?,
        },
        "RESPONSE_CODE_DETAILS" if argument == "ALLOW_WHITESPACES" => {
            Command::ResponseCodeDetails {
                allow_whitespaces: true,
            }
        }
        "GRPC_STATUS" => Command::GrpcStatus(match argument {
            "CAMEL_STRING" => GrpcStatusFormat::CamelString,
            "SNAKE_STRING" => GrpcStatusFormat::SnakeString,
            "NUMBER" => GrpcStatusFormat::Number,
            _ => return None,
        }),
        "COMMON_DURATION" => common_duration(argument)?,
        "REQUESTED_SERVER_NAME" => server_name(argument)?,
        "PATH" => path_command(argument)?,
        "QUERY_PARAM" => Command::QueryParam(argument.to_owned()),
        "QUERY_PARAMS" => Command::QueryParams {
            decoded: match argument {
                "ORIG" => false,
                "DECODED" => true,
                _ => return None,
            },
        },
        // As in Envoy, what the environment is when the configuration is read.
        "ENVIRONMENT" => Command::Fixed(std::env::var(argument).ok()),
        "COALESCE" => coalesce(argument, formatters)?,
        name => {
            let of = without_port(name)?;
            let most = 128;
            let length = argument.parse().ok().filter(|length| *length <= most)?;
            Command::Address(of, AddressPart::WithoutPort(Some(length)))
        }
    })
}

fn header(make: fn(String, Option<String>) -> Command, argument: &str) -> Command {
    let (first, second) = match argument.split_once('?') {
        Some((first, second)) => (first, Some(second.to_ascii_lowercase())),
        None => (argument, None),
    };
    make(first.to_ascii_lowercase(), second)
}

fn path(argument: &str) -> Vec<String> {
    argument.split(':').map(str::to_owned).collect()
}

fn filter_state(argument: &str) -> Option<Command> {
    let parts: Vec<&str> = argument.split(':').collect();
    let (name, how) = match parts.as_slice() {
        [name] | [name, "TYPED"] => (name, FilterStateFormat::Typed),
        [name, "PLAIN"] => (name, FilterStateFormat::Plain),
        [name, "FIELD", field] => (name, FilterStateFormat::Field((*field).to_owned())),
        _ => return None,
    };
    let name = (*name).to_owned();
    Some(Command::FilterState { name, how })
}

fn common_duration(argument: &str) -> Option<Command> {
    let mut parts = argument.split(':');
    let (start, end, precision) = (parts.next()?, parts.next()?, parts.next()?);
    let precision = match precision {
        "ms" => Precision::Millis,
        "us" => Precision::Micros,
        "ns" => Precision::Nanos,
        _ => return None,
    };
    let points = (time_point(start)?, time_point(end)?);
    let is_all = parts.next().is_none();
    is_all.then_some(Command::CommonDuration(points.0, points.1, precision))
}

fn time_point(name: &str) -> Option<TimePoint> {
    Some(match name {
        "DS_RX_BEG" => TimePoint::DownstreamRxBegin,
        "DS_RX_END" => TimePoint::DownstreamRxEnd,
        "US_TX_BEG" => TimePoint::UpstreamTxBegin,
        "US_TX_END" => TimePoint::UpstreamTxEnd,
        "US_RX_BEG" => TimePoint::UpstreamRxBegin,
        "US_RX_END" => TimePoint::UpstreamRxEnd,
        "DS_TX_BEG" => TimePoint::DownstreamTxBegin,
        "DS_TX_END" => TimePoint::DownstreamTxEnd,
        _ => return None,
    })
}

fn server_name(argument: &str) -> Option<Command> {
    let (choice, source) = argument.split_once(':').unwrap_or((argument, ""));
    let choice = match choice {
        "SNI_ONLY" => ServerNameChoice::SniOnly,
        "SNI_FIRST" => ServerNameChoice::SniFirst,
        "HOST_FIRST" => ServerNameChoice::HostFirst,
        _ => return None,
    };
    let source = match source {
        "ORIG" => HostSource::Original,
        "HOST" => HostSource::Host,
        "" | "ORIG_OR_HOST" => HostSource::OriginalOrHost,
        _ => return None,
    };
    Some(Command::RequestedServerName(choice, source))
}

fn path_command(argument: &str) -> Option<Command> {
    let (query, source) = argument.split_once(':').unwrap_or((argument, ""));
    let with_query = match query {
        "" | "WQ" => true,
        "NQ" => false,
        _ => return None,
    };
    let source = match source {
        "ORIG" => PathSource::Original,
        "PATH" => PathSource::Path,
        "" | "ORIG_OR_PATH" => PathSource::OriginalOrPath,
        _ => return None,
    };
    Some(Command::Path { with_query, source })
}

/// `{"operators": [NAME, {"command": NAME, "param": X, "max_length": 3}]}`
fn coalesce(argument: &str, formatters: Formatters) -> Option<Command> {
    let object: Value = serde_json::from_str(argument).ok()?;
    let object = object.as_object()?;
    let operators = object.get("operators")?.as_array()?;
    let operator = |operator: &Value| match operator {
        Value::String(name) => Some((command(name, "", formatters)?, None)),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).map(Value::as_str);
            let known = ["command", "param", "max_length"];
            let is_known = fields.keys().all(|key| known.contains(&key.as_str()));
            let max_length = match fields.get("max_length") {
                Some(length) => Some(usize::try_from(length.as_u64()?).ok()?),
                None => None,
            };
            let param = text("param").unwrap_or(Some(""))?;
            let command = command(text("command")??, param, formatters)?;
            is_known.then_some((command, max_length))
        }
        _ => None,
    };
    let commands: Option<Vec<_>> = operators.iter().map(operator).collect();
    commands
        .filter(|commands| !commands.is_empty() && object.len() == 1)
        .map(Command::Coalesce)
}

fn plain(name: &str) -> Option<Command> {
    Some(match name {
        "START_TIME" => Command::Time(TimeOf::Start, TimeFormat::default()),
        "EMIT_TIME" => Command::Time(TimeOf::Emit, TimeFormat::default()),
        "PROTOCOL" => Command::Protocol,
        "UPSTREAM_PROTOCOL" => Command::UpstreamProtocol,
        "RESPONSE_CODE" => Command::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Command::ResponseCodeDetails {
            allow_whitespaces: false,
        },
        "CONNECTION_TERMINATION_DETAILS" => Command::ConnectionTerminationDetails,
        "RESPONSE_FLAGS" => Command::ResponseFlags,
        "RESPONSE_FLAGS_LONG" => Command::ResponseFlagsLong,
        "GRPC_STATUS" => Command::GrpcStatus(GrpcStatusFormat::CamelString),
        "GRPC_STATUS_NUMBER" => Command::GrpcStatus(GrpcStatusFormat::Number),
        "UPSTREAM_HOST" => Command::UpstreamHost,
        "UPSTREAM_HOST_NAME" => Command::UpstreamHostName { with_port: true },
        "UPSTREAM_HOST_NAME_WITHOUT_PORT" => Command::UpstreamHostName { with_port: false },
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Command::UpstreamCluster,
        "CONNECTION_ID" => Command::ConnectionId,
        "STREAM_ID" => Command::StreamId,
        "REQUESTED_SERVER_NAME" => {
            Command::RequestedServerName(ServerNameChoice::SniOnly, HostSource::OriginalOrHost)
        }
        "ROUTE_NAME" => Command::RouteName,
        "FILTER_CHAIN_NAME" => Command::FilterChainName,
        "HOSTNAME" => Command::Fixed(hostname()),
        "ACCESS_LOG_TYPE" => Command::AccessLogType,
        "UNIQUE_ID" => Command::UniqueId,
        "CUSTOM_FLAGS" => Command::CustomFlags,
        "PATH" => Command::Path {
            with_query: true,
            source: PathSource::OriginalOrPath,
        },
        "QUERY_PARAMS" => Command::QueryParams { decoded: false },
        "DOWNSTREAM_PEER_CERT_V_START" | "DOWNSTREAM_PEER_CERT_V_END" => Command::PeerCertTime {
            is_end: name.ends_with("END"),
            format: TimeFormat::default(),
        },
        name => attempted(name)
            .or_else(|| count(name).map(Command::Count))
            .or_else(|| span(name).map(Command::Duration))
            .or_else(|| address(name))
            .or_else(|| tls_field(name).map(Command::Tls))?,
    })
}

fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

fn attempted(name: &str) -> Option<Command> {
    let (names, with_port) = match name {
        "UPSTREAM_HOSTS_ATTEMPTED" => (false, true),
        "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" => (false, false),
        "UPSTREAM_HOST_NAMES_ATTEMPTED" => (true, true),
        "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT" => (true, false),
        _ => return None,
    };
    Some(Command::UpstreamHostsAttempted { names, with_port })
}

fn count(name: &str) -> Option<Count> {
    Some(match name {
        "BYTES_RECEIVED" => Count::BytesReceived,
        "BYTES_SENT" => Count::BytesSent,
        "REQUEST_HEADERS_BYTES" => Count::RequestHeadersBytes,
        "RESPONSE_HEADERS_BYTES" => Count::ResponseHeadersBytes,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Count::UpstreamRequestAttemptCount,
        "BYTES_RETRANSMITTED" | "PACKETS_RETRANSMITTED" => Count::Retransmitted,
        _ => return None,
    })
}

fn span(name: &str) -> Option<Span> {
    Some(match name {
        "DURATION" => Span::Whole,
        "REQUEST_DURATION" => Span::Request,
        "REQUEST_TX_DURATION" => Span::RequestTx,
        "RESPONSE_DURATION" => Span::Response,
        "RESPONSE_TX_DURATION" => Span::ResponseTx,
        "UPSTREAM_CONNECTION_POOL_READY_DURATION" => Span::PoolReady,
        "ROUNDTRIP_DURATION" => Span::Roundtrip,
        _ => return None,
    })
}

/// `DOWNSTREAM_REMOTE_ADDRESS`, `_ADDRESS_WITHOUT_PORT` and `_PORT`, of each address.
fn address(name: &str) -> Option<Command> {
    if let Some(of) = without_port(name) {
        return Some(Command::Address(of, AddressPart::WithoutPort(None)));
    }
    let whole = name.strip_suffix("_ADDRESS").and_then(address_of);
    let port = || name.strip_suffix("_PORT").and_then(address_of);
    whole
        .map(|of| Command::Address(of, AddressPart::Whole))
        .or_else(|| Some(Command::Address(port()?, AddressPart::Port)))
}

fn without_port(name: &str) -> Option<AddressOf> {
    address_of(name.strip_suffix("_ADDRESS_WITHOUT_PORT")?)
}

fn address_of(name: &str) -> Option<AddressOf> {
    Some(match name {
        "DOWNSTREAM_REMOTE" => AddressOf::DownstreamRemote,
        "DOWNSTREAM_DIRECT_REMOTE" => AddressOf::DownstreamDirectRemote,
        "DOWNSTREAM_LOCAL" => AddressOf::DownstreamLocal,
        "DOWNSTREAM_DIRECT_LOCAL" => AddressOf::DownstreamDirectLocal,
        "UPSTREAM_LOCAL" => AddressOf::UpstreamLocal,
        "UPSTREAM_REMOTE" => AddressOf::UpstreamRemote,
        _ => return None,
    })
}

fn tls_field(name: &str) -> Option<TlsField> {
    let name = name.strip_prefix("DOWNSTREAM_")?;
    let of_side = |side, what| {
        Some(match what {
            "URI_SAN" => TlsField::UriSan(side),
            "DNS_SAN" => TlsField::DnsSan(side),
            "EMAIL_SAN" => TlsField::EmailSan(side),
            "IP_SAN" => TlsField::IpSan(side),
            "SUBJECT" => TlsField::Subject(side),
            _ => return None,
        })
    };
    if let Some(what) = name.strip_prefix("LOCAL_") {
        return of_side(Side::Local, what);
    }
    let peer = name.strip_prefix("PEER_");
    if let Some(field) = peer.and_then(|what| of_side(Side::Peer, what)) {
        return Some(field);
    }
    Some(match name {
        "PEER_ISSUER" => TlsField::PeerIssuer,
        "PEER_SERIAL" => TlsField::PeerSerial,
        "PEER_CHAIN_SERIALS" => TlsField::PeerChainSerials,
        "PEER_FINGERPRINT_256" => TlsField::PeerFingerprint256,
        "PEER_FINGERPRINT_1" => TlsField::PeerFingerprint1,
        "PEER_CHAIN_FINGERPRINTS_256" => TlsField::PeerChainFingerprints256,
        "PEER_CHAIN_FINGERPRINTS_1" => TlsField::PeerChainFingerprints1,
        "PEER_CERT" => TlsField::PeerCert,
        "TLS_VERSION" => TlsField::Version,
        "TLS_CIPHER" => TlsField::Cipher,
        "TLS_GROUP" => TlsField::Group,
        _ => return None,
    })
}
