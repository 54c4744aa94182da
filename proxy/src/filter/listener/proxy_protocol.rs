//! `envoy.filters.listener.proxy_protocol`: who the client is, from the proxy in front.

pub mod header;

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use self::header::{Found, Header, Version};
use super::Status;
use crate::{
    buffer::Buffer,
    config::listener_filter::{ProxyProtocol as Config, TlvEncoding, TlvLocation, TlvRule},
    factory_context::FactoryContext,
    info::ConnectionInfo,
    metadata::{PASSED_TLVS, PROXY_PROTOCOL_TLVS},
    net::address::{OriginalDst, RemoteAddr},
    stat_set,
    stats::Scope,
};

stat_set! {
    /// `proxy_proto.<stat_prefix>.*`, with Envoy's names. Without a prefix, its place is left out.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/proxy_protocol>
    pub(crate) struct ProxyProtocolStats {
        /// Connections without a header, which need none.
        not_found_allowed: Counter,
        /// Connections closed because they had no header.
        not_found_disallowed: Counter,
    }
}

stat_set! {
    /// `proxy_proto.<stat_prefix>.versions.<version>.*`, with Envoy's names, of `v1` and `v2`.
    pub(crate) struct VersionStats {
        /// Connections with a header of this version, if it was right or is not allowed.
        found: Counter,
        /// Connections closed because this version is not allowed.
        disallowed: Counter,
        /// Connections closed because the header was wrong.
        error: Counter,
    }
}

pub(crate) struct ProxyProtocol {
    config: Arc<Config>,
    stats: Arc<ProxyProtocolStats>,
    v1: Arc<VersionStats>,
    v2: Arc<VersionStats>,
}

// === impl ProxyProtocol ===

impl ProxyProtocol {
    pub(super) fn new(config: &Arc<Config>, context: &FactoryContext) -> Self {
        let scope = |rest: &str| {
            let parts = [config.stat_prefix.as_str(), rest];
            let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            Scope {
                kind: "proxy_proto",
                name: parts.join("."),
                label: "envoy_proxy_protocol_prefix",
            }
        };
        Self {
            config: Arc::clone(config),
            stats: context.registry.register(scope("")),
            v1: context.registry.register(scope("versions.v1")),
            v2: context.registry.register(scope("versions.v2")),
        }
    }

    pub(super) fn run(&self, connection: &mut ConnectionInfo, buffer: &mut Buffer) -> Status {
        let bytes = buffer.filled();
        if self.config.allow_without && !bytes.is_empty() && !self.may_be_header(bytes) {
            self.stats.not_found_allowed.inc();
            return Status::Continue;
        }
        let (version, length) = match header::read(bytes) {
            Found::NeedMore => return Status::Wait,
            Found::Nothing => {
                self.stats.not_found_disallowed.inc();
                return Status::Close;
            }
            Found::Malformed(version) | Found::Header(Header { version, .. })
                if self.disallows(version) =>
            {
                // As in Envoy it counts as found, too.
                self.of(version).found.inc();
                self.of(version).disallowed.inc();
                return Status::Close;
            }
            Found::Header(header) if is_usable(&header) => {
                self.apply(connection, &header);
                (header.version, header.length)
            }
            Found::Malformed(version) | Found::Header(Header { version, .. }) => {
                self.of(version).error.inc();
                return Status::Close;
            }
        };
        self.of(version).found.inc();
        buffer.consume(length);
        Status::Continue
    }

    fn may_be_header(&self, bytes: &[u8]) -> bool {
        let may_be = |version| !self.disallows(version) && header::may_begin(version, bytes);
        may_be(Version::V1) || may_be(Version::V2)
    }

    fn disallows(&self, version: Version) -> bool {
        match version {
            Version::V1 => self.config.disallow_v1,
            Version::V2 => self.config.disallow_v2,
        }
    }

    fn of(&self, version: Version) -> &VersionStats {
        match version {
            Version::V1 => &self.v1,
            Version::V2 => &self.v2,
        }
    }

    fn apply(&self, connection: &mut ConnectionInfo, header: &Header<'_>) {
        // A proxy that speaks for itself says nothing of a client.
        let Some((source, destination)) = header.addresses else {
            return;
        };
        connection.proxy = Some(Box::new(connection.direct_remote()));
        connection.remote = RemoteAddr(source);
        connection.original_destination = OriginalDst(destination);
        let mut fields = Map::new();
        let mut passed = Vec::new();
        for (kind, value) in header::tlvs(header.tlvs).flatten() {
            if self.config.pass_through.has(kind) {
                // It came with a length of two bytes.
                let length = u16::try_from(value.len()).unwrap_or_default();
                passed.push(kind);
                passed.extend(length.to_be_bytes());
                passed.extend(value);
            }
            for rule in self.config.rules.iter().filter(|rule| rule.kind == kind) {
                let text = text_of(rule, value);
                match self.config.location {
                    TlvLocation::FilterState => {
                        fields.insert(rule.key.clone(), text.into());
                    }
                    // As in Envoy the first of a type stays.
                    TlvLocation::DynamicMetadata => {
                        let metadata = &mut connection.metadata;
                        if metadata.value(&rule.namespace, &[&rule.key]).is_none() {
                            let field = (rule.key.clone(), text.into());
                            metadata.merge(&rule.namespace, Map::from_iter([field]));
                        }
                    }
                }
            }
        }
        if !passed.is_empty() {
            let state = &mut connection.filter_state;
            state.set(PASSED_TLVS, &STANDARD.encode(passed));
        }
        if !fields.is_empty() {
            let object = Value::Object(fields).to_string();
            connection.filter_state.set(PROXY_PROTOCOL_TLVS, &object);
        }
    }
}

/// Whether a client may have the addresses: as in Envoy, neither is no address, nor of many.
fn is_usable(header: &Header<'_>) -> bool {
    let is_unicast = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    header
        .addresses
        .is_none_or(|(source, destination)| is_unicast(source.ip()) && is_unicast(destination.ip()))
}

fn text_of(rule: &TlvRule, value: &[u8]) -> String {
    match rule.encoding {
        TlvEncoding::Base64 => STANDARD.encode(value),
        TlvEncoding::Sanitized => sanitized(value).into_owned(),
    }
}

/// `!` in place of each byte that is not of UTF-8.
fn sanitized(mut bytes: &[u8]) -> Cow<'_, str> {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(bytes) {
            Ok(rest) if text.is_empty() => return rest.into(),
            Ok(rest) => return (text + rest).into(),
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                text.push('!');
                bytes = &rest[1..];
            }
        }
    }
}
