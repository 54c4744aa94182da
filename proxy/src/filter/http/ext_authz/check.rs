//! What a service of gRPC is told of a request, as Envoy tells it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use weir_api::xds::{
    envoy::{
        config::core::v3::{
            self as core, Address, HeaderMap, HeaderValue, SocketAddress, address,
            socket_address::PortSpecifier,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest,
            attribute_context::{HttpRequest, Peer, Request, TlsSession},
        },
    },
    google::protobuf::Timestamp,
};

use super::{
    super::Decoding,
    Settings,
    decision::is_of_the_hop,
    question::{self, PARTIAL_BODY},
};
use crate::{
    config::http_filter::ExtAuthz,
    convert::json_struct,
    http::{
        edits::Edited,
        head::{Fields, RequestHead},
    },
    metadata::Metadata,
    net::tls::{TlsInfo, url_encoded_pem},
};

/// The question.
pub(super) fn request(
    config: &ExtAuthz,
    settings: &Settings<'_>,
    d: &Decoding<'_, '_>,
    route_metadata: Option<&Metadata>,
) -> CheckRequest {
    let connection = d.stream.connection;
    let head = Edited::new(d.head, &*d.edits);
    let service = head.first("x-envoy-downstream-service-cluster");
    let mut source = Peer {
        address: Some(address(connection.source)),
        service: service.unwrap_or_default().into_owned(),
        ..Peer::default()
    };
    let mut destination = Peer {
        address: Some(address(connection.destination)),
        ..Peer::default()
    };
    if let Some(tls) = connection.tls {
        source.principal = principal(tls.peer_names());
        destination.principal = principal(tls.local_names());
        if config.include_peer_certificate
            && let Some(leaf) = tls.peer.get(..1)
        {
            source.certificate = url_encoded_pem(leaf);
        }
    }
    let extensions = settings.context_extensions.iter();
    let sni = connection.server_name;
    let session = |_: &TlsInfo| TlsSession {
        sni: sni.to_owned(),
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            destination: Some(destination),
            request: Some(Request {
                time: Some(now()),
                http: Some(http(config, settings, d, &head)),
            }),
            context_extensions: extensions
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            metadata_context: Some(metadata(
                Some(d.stream.metadata),
                &config.metadata_namespaces,
            )),
            route_metadata_context: Some(metadata(
                route_metadata,
                &config.route_metadata_namespaces,
            )),
            tls_session: connection
                .tls
                .filter(|_| config.include_tls_session)
                .map(session),
        }),
    }
}

fn http(
    config: &ExtAuthz,
    settings: &Settings<'_>,
    d: &Decoding<'_, '_>,
    head: &dyn RequestHead,
) -> HttpRequest {
    let scheme = question::scheme(d);
    let mut lines = lines(config, head, scheme);
    let mut http = HttpRequest {
        id: format!("{}", (d.stream.random)()),
        method: head.method().to_owned(),
        path: head.path().to_owned(),
        host: head.authority().to_owned(),
        scheme: scheme.to_owned(),
        protocol: head.protocol().to_owned(),
        ..HttpRequest::default()
    };
    if let Some(settings) = settings.body
        && let (body, Some(is_partial)) = question::body(d, settings.max_request_bytes as usize)
    {
        http.size = d.body.as_ref().map_or(0, |body| body.len() as i64);
        match settings.pack_as_bytes {
            true => http.raw_body = body.to_vec(),
            false => http.body = sanitized(&body),
        }
        lines.push((PARTIAL_BODY.to_owned(), is_partial.to_string()));
    }
    if config.encode_raw_headers {
        let headers = lines.into_iter().map(|(key, value)| HeaderValue {
            key,
            raw_value: value.into_bytes(),
            ..HeaderValue::default()
        });
        http.header_map = Some(HeaderMap {
            headers: headers.collect(),
        });
    } else {
        http.headers = joined(lines);
    }
    http
}

/// Headers and pseudo headers, line by line, that the service may see.
fn lines(config: &ExtAuthz, head: &dyn RequestHead, scheme: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = [
        (":authority", head.authority()),
        (":path", head.path()),
        (":method", head.method()),
        (":scheme", scheme),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for name in question::names(head) {
        // Those of a hop are gone before filters in Envoy.
        let is_gone = is_of_the_hop(&name) && !matches!(&*name, "content-length" | "te");
        if is_gone || matches!(&*name, "host" | PARTIAL_BODY) {
            continue;
        }
        head.any_line(&name, &mut |line| {
            all.push((name.clone(), line.into_owned()));
            false
        });
    }
    if !head.has("x-forwarded-proto") {
        // It will be there when the request leaves.
        all.push(("x-forwarded-proto".to_owned(), scheme.to_owned()));
    }
    all.retain(|(name, _)| question::is_sent(config, name));
    all
}

fn joined(lines: Vec<(String, String)>) -> HashMap<String, String> {
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in lines {
        let value = sanitized(value.as_bytes());
        match headers.get_mut(&name) {
            Some(before) => {
                before.push(',');
                before.push_str(&value);
            }
            None => drop(headers.insert(name, value)),
        }
    }
    headers
}

/// What is no UTF-8 becomes `!`, as in Envoy.
fn sanitized(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\u{fffd}', "!")
}

fn address(address: SocketAddr) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
            ..SocketAddress::default()
        })),
    }
}

/// A certificate's first URI, else its first DNS name, else its subject.
fn principal(names: Option<&crate::net::tls::Names>) -> String {
    let Some(names) = names else {
        return String::new();
    };
    let first = names.uris.first().or(names.dns.first());
    first.unwrap_or(&names.subject).clone()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since: Duration = since.unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos().cast_signed(),
    }
}

fn metadata(metadata: Option<&Metadata>, namespaces: &[String]) -> core::Metadata {
    let found = namespaces.iter().filter_map(|namespace| {
        let values = metadata?.get(namespace)?;
        Some((namespace.clone(), json_struct(values)))
    });
    core::Metadata {
        filter_metadata: found.collect(),
        ..core::Metadata::default()
    }
}
