//! Reading of format strings.

use super::{Command, FilterStateFormat, Format, Part, TlsField};

/// A format string that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` without its partner; a lone `%` is written `%%`.
    #[error("format {0:?} has a '%' that begins no command; write '%%' for a percent sign")]
    LonePercent(String),
    /// A command that does not exist or is not supported.
    #[error("format command %{0}% is not supported")]
    Unsupported(String),
}

pub(super) fn parse(text: &str) -> Result<Format, FormatError> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(percent) = rest.find('%') {
        literal.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let lone = || FormatError::LonePercent(text.to_owned());
        let end = rest.find('%').ok_or_else(lone)?;
        let (command, max_length) = command(&rest[..end]).map_err(|error| match error {
            Unreadable::Command => FormatError::Unsupported(rest[..end].to_owned()),
            Unreadable::Syntax => lone(),
        })?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Command {
            command,
            max_length,
        });
        rest = &rest[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(Format { parts })
}

enum Unreadable {
    Syntax,
    Command,
}

/// `NAME`, `NAME(argument)`, either with `:length`.
fn command(text: &str) -> Result<(Command, Option<usize>), Unreadable> {
    let name_end = text
        .find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Unreadable::Syntax);
    }
    let (argument, rest) = match rest.strip_prefix('(') {
        Some(inner) => inner.rsplit_once(')').ok_or(Unreadable::Syntax)?,
        None => ("", rest),
    };
    let max_length = match rest.strip_prefix(':') {
        Some(length) => Some(length.parse().map_err(|_| Unreadable::Syntax)?),
        None if rest.is_empty() => None,
        None => return Err(Unreadable::Syntax),
    };
    let command = match (name, argument) {
        ("REQ", argument) if !argument.is_empty() => header(Command::RequestHeader, argument),
        ("RESP", argument) if !argument.is_empty() => header(Command::ResponseHeader, argument),
        ("DYNAMIC_METADATA", argument) if !argument.is_empty() => {
            Command::DynamicMetadata(argument.split(':').map(str::to_owned).collect())
        }
        ("FILTER_STATE", argument) if !argument.is_empty() => {
            filter_state(argument).ok_or(Unreadable::Command)?
        }
        (name, "") => plain(name).ok_or(Unreadable::Command)?,
        _ => return Err(Unreadable::Command),
    };
    Ok((command, max_length))
}

fn header(make: fn(String, Option<String>) -> Command, argument: &str) -> Command {
    let (first, second) = match argument.split_once('?') {
        Some((first, second)) => (first, Some(second.to_ascii_lowercase())),
        None => (argument, None),
    };
    make(first.to_ascii_lowercase(), second)
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

fn plain(name: &str) -> Option<Command> {
    Some(match name {
        "START_TIME" => Command::StartTime,
        "PROTOCOL" => Command::Protocol,
        "RESPONSE_CODE" => Command::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Command::ResponseCodeDetails,
        "CONNECTION_TERMINATION_DETAILS" => Command::ConnectionTerminationDetails,
        "RESPONSE_FLAGS" => Command::ResponseFlags,
        "BYTES_RECEIVED" => Command::BytesReceived,
        "BYTES_SENT" => Command::BytesSent,
        "DURATION" => Command::Duration,
        "UPSTREAM_HOST" => Command::UpstreamHost,
        "UPSTREAM_CLUSTER" => Command::UpstreamCluster,
        "UPSTREAM_LOCAL_ADDRESS" => Command::UpstreamLocalAddress,
        "DOWNSTREAM_LOCAL_ADDRESS" => Command::DownstreamLocalAddress,
        "DOWNSTREAM_LOCAL_PORT" => Command::DownstreamLocalPort,
        "DOWNSTREAM_REMOTE_ADDRESS" => Command::DownstreamRemoteAddress,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Command::DownstreamRemoteAddressWithoutPort,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Command::DownstreamDirectRemoteAddress,
        "REQUESTED_SERVER_NAME" => Command::RequestedServerName,
        "ROUTE_NAME" => Command::RouteName,
        "FILTER_CHAIN_NAME" => Command::FilterChainName,
        name => Command::Tls(tls_field(name)?),
    })
}

fn tls_field(name: &str) -> Option<TlsField> {
    Some(match name {
        "DOWNSTREAM_PEER_URI_SAN" => TlsField::PeerUriSan,
        "DOWNSTREAM_PEER_DNS_SAN" => TlsField::PeerDnsSan,
        "DOWNSTREAM_PEER_EMAIL_SAN" => TlsField::PeerEmailSan,
        "DOWNSTREAM_PEER_IP_SAN" => TlsField::PeerIpSan,
        "DOWNSTREAM_PEER_SUBJECT" => TlsField::PeerSubject,
        "DOWNSTREAM_PEER_ISSUER" => TlsField::PeerIssuer,
        "DOWNSTREAM_PEER_SERIAL" => TlsField::PeerSerial,
        "DOWNSTREAM_PEER_FINGERPRINT_256" => TlsField::PeerFingerprint256,
        "DOWNSTREAM_PEER_FINGERPRINT_1" => TlsField::PeerFingerprint1,
        "DOWNSTREAM_PEER_CERT" => TlsField::PeerCert,
        "DOWNSTREAM_PEER_CERT_V_START" => TlsField::PeerCertStart,
        "DOWNSTREAM_PEER_CERT_V_END" => TlsField::PeerCertEnd,
        "DOWNSTREAM_LOCAL_URI_SAN" => TlsField::LocalUriSan,
        "DOWNSTREAM_LOCAL_DNS_SAN" => TlsField::LocalDnsSan,
        "DOWNSTREAM_LOCAL_SUBJECT" => TlsField::LocalSubject,
        "DOWNSTREAM_TLS_VERSION" => TlsField::Version,
        "DOWNSTREAM_TLS_CIPHER" => TlsField::Cipher,
        _ => return None,
    })
}
