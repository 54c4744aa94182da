//! How an access log line reads.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use crate::{
    config::{
        access_log::AccessLogFormat,
        format::{Command, Format, TlsField},
    },
    format::Values,
    info::{ConnectionInfo, Outcome, head::RequestHead},
    net::tls::{Fingerprint, TlsInfo, url_encoded_pem},
};

/// Envoy's default text format.
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string>
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
                       %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% \
                       %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
                       \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
                       \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// Finds a response header by lower-case name.
pub(crate) type ResponseLookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a line is about.
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
    pub(crate) upstream_local: Option<SocketAddr>,
    pub(crate) duration_us: u64,
    pub(crate) start: SystemTime,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) route_name: &'a str,
}

/// The line, with its end.
pub(super) fn render(format: &AccessLogFormat, facts: &Facts<'_>) -> String {
    static DEFAULT_FORMAT: OnceLock<Format> = OnceLock::new();
    let mut line = String::with_capacity(256);
    match format {
        AccessLogFormat::Default => {
            let format = DEFAULT_FORMAT.get_or_init(|| Format::parse(DEFAULT).unwrap_or_default());
            format.render(facts, "-", &mut line);
        }
        AccessLogFormat::Text(format) => format.render(facts, "-", &mut line),
        AccessLogFormat::Json(fields) => {
            let mut object = serde_json::Map::new();
            for (name, format) in fields {
                let mut value = String::new();
                format.render(facts, "-", &mut value);
                let value = match value.as_str() {
                    "-" => serde_json::Value::Null,
                    _ => value.into(),
                };
                object.insert(name.clone(), value);
            }
            line = serde_json::Value::Object(object).to_string();
            line.push('\n');
        }
    }
    line
}

// === impl Facts ===

impl Values for Facts<'_> {
    fn append(&self, command: &Command, out: &mut String) -> bool {
        self.value(command, out).is_some()
    }
}

impl Facts<'_> {
    fn value(&self, command: &Command, out: &mut String) -> Option<()> {
        let (context, outcome) = (self.context, self.outcome);
        match command {
            Command::RequestHeader(name, other) => {
                let find = |name: &String| self.request.and_then(|r| r.field(name));
                out.push_str(&find(name).or_else(|| other.as_ref().and_then(find))?);
            }
            Command::ResponseHeader(name, other) => {
                let find = |name: &String| self.response.and_then(|find| find(name));
                out.push_str(&find(name).or_else(|| other.as_ref().and_then(find))?);
            }
            Command::StartTime => print(out, humantime::format_rfc3339_millis(self.start)),
            Command::Protocol => match (self.request, context.http) {
                (Some(request), _) => out.push_str(request.protocol()),
                (None, "") => return None,
                (None, protocol) => out.push_str(protocol),
            },
            Command::ResponseCode => print(out, outcome.response_code),
            Command::ResponseCodeDetails => match (&outcome.details, outcome.reason) {
                (Some(details), _) => out.push_str(details),
                (None, Some(reason)) => out.push_str(reason.code()),
                (None, None) if self.request.is_some() => out.push_str("via_upstream"),
                (None, None) => return None,
            },
            Command::ConnectionTerminationDetails => {
                out.push_str(context.termination_details()?);
            }
            Command::ResponseFlags => flags(outcome, out),
            Command::BytesReceived => print(out, self.bytes_received),
            Command::BytesSent => print(out, self.bytes_sent),
            Command::Duration => print(out, self.duration_us / 1000),
            Command::UpstreamHost => print(out, outcome.upstream_host?),
            Command::UpstreamCluster => out.push_str(&outcome.cluster.as_ref()?.name),
            Command::UpstreamLocalAddress => print(out, self.upstream_local?),
            Command::DownstreamLocalAddress => print(out, context.original_destination),
            Command::DownstreamLocalPort => print(out, context.original_destination.port()),
            Command::DownstreamRemoteAddress => match self.client {
                // Its port is not known.
                Some(client) => print(out, SocketAddr::new(client, 0)),
                None => print(out, context.remote),
            },
            Command::DownstreamRemoteAddressWithoutPort => {
                print(out, self.client.unwrap_or(context.remote.ip()));
            }
            Command::DownstreamDirectRemoteAddress => print(out, context.direct_remote()),
            Command::RequestedServerName => server_name(context.server_name.as_deref()?, out),
            Command::Tls(field) => tls_field(*field, context.tls.as_ref()?, out)?,
            Command::RouteName if self.route_name.is_empty() => return None,
            Command::RouteName => out.push_str(self.route_name),
            Command::FilterChainName => {
                let name = context.chain.as_ref().map(|chain| &chain.name);
                out.push_str(name.filter(|name| !name.is_empty())?);
            }
            Command::DynamicMetadata(path) => context.metadata.print(path, out)?,
            Command::FilterState { name, how } => context.filter_state.print(name, how, out)?,
        }
        Some(())
    }
}

/// Appends the name that a TLS client asks for. It is any text: as in Envoy, one that is no name is marked,
/// and its characters replaced that names do not have.
fn server_name(name: &str, out: &mut String) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.chars().all(is_of_name) {
        return out.push_str(name);
    }
    out.push_str("invalid:");
    let bytes = name.chars();
    // One for each byte.
    let shown = bytes.flat_map(|c| match is_of_name(c) {
        true => std::iter::repeat_n(c, 1),
        false => std::iter::repeat_n('_', c.len_utf8()),
    });
    out.extend(shown);
}

/// Appends what is asked for of TLS; none if there is no such thing.
fn tls_field(field: TlsField, tls: &TlsInfo, out: &mut String) -> Option<()> {
    let (peer, local) = (|| tls.peer_names(), || tls.local_names());
    match field {
        TlsField::PeerUriSan => list(out, &peer()?.uris)?,
        TlsField::PeerDnsSan => list(out, &peer()?.dns)?,
        TlsField::PeerEmailSan => list(out, &peer()?.emails)?,
        TlsField::PeerIpSan => list(out, &peer()?.ips)?,
        TlsField::PeerSubject => list(out, &[&peer()?.subject])?,
        TlsField::PeerIssuer => list(out, &[&peer()?.issuer])?,
        TlsField::PeerSerial => list(out, &[&peer()?.serial])?,
        TlsField::PeerFingerprint256 => out.push_str(&tls.fingerprint(Fingerprint::Sha256)?),
        TlsField::PeerFingerprint1 => out.push_str(&tls.fingerprint(Fingerprint::Sha1)?),
        TlsField::PeerCert => out.push_str(&url_encoded_pem(tls.peer.get(..1)?)),
        TlsField::PeerCertStart => time(out, peer()?.not_before)?,
        TlsField::PeerCertEnd => time(out, peer()?.not_after)?,
        TlsField::LocalUriSan => list(out, &local()?.uris)?,
        TlsField::LocalDnsSan => list(out, &local()?.dns)?,
        TlsField::LocalSubject => list(out, &[&local()?.subject])?,
        TlsField::Version => out.push_str(tls.version),
        TlsField::Cipher => out.push_str(&tls.openssl_cipher()),
    }
    Some(())
}

/// Values behind each other; none of none.
fn list(out: &mut String, values: &[impl std::fmt::Display]) -> Option<()> {
    let start = out.len();
    for value in values {
        if out.len() > start {
            out.push(',');
        }
        print(out, value);
    }
    (out.len() > start).then_some(())
}

fn time(out: &mut String, seconds: i64) -> Option<()> {
    let since = Duration::from_secs(u64::try_from(seconds).ok()?);
    let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
    print(out, humantime::format_rfc3339_millis(time));
    Some(())
}

/// Response flags, `-` without any, also where that stands in a header.
fn flags(outcome: &Outcome, out: &mut String) {
    let flags = outcome.response_flags();
    let mut said = flags.into_iter().filter(|flag| !flag.is_empty());
    out.push_str(said.next().unwrap_or("-"));
    said.for_each(|flag| out.extend([",", flag]));
}

fn print(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_are_marked() {
        for (name, shown) in [
            ("ok.under_score.example", "ok.under_score.example"),
            ("a\nb", "invalid:a_b"),
            ("a\"b c", "invalid:a_b_c"),
            ("\u{e9}", "invalid:__"),
        ] {
            let mut out = String::new();
            server_name(name, &mut out);
            assert_eq!(out, shown);
        }
    }

    #[test]
    fn the_default_format_can_be_read() {
        assert!(Format::parse(DEFAULT).is_ok());
    }
}
