//! What is said of clients that speak TLS.

use std::time::Instant;

use rcgen::{CertificateParams, KeyPair, SanType};
use weir_api::xds::{envoy::service::auth::v3::CheckRequest, json};

use super::*;
use crate::{
    config::{http_filter::HttpFilterConfig, network_filter::NetworkFilter},
    convert,
    format::NoValues,
    http::route::CachedRoute,
    metadata::{FilterState, Metadata},
    net::tls::TlsInfo,
    rbac::ConnectionAttributes,
    runtime::Runtime,
};

use super::super::Stream;

const URI: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// What a service of gRPC is told of a request, by a filter with these fields.
fn told(fields: &str, tls: &TlsInfo) -> CheckRequest {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: c, load_assignment: {{ cluster_name: c }} }} ], listeners: [ {{ name: l, \
         address: {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }}, filter_chains: [ {{ filters: [ {{ name: h, typed_config: {{ \
         '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: h, \
         route_config: {{}}, http_filters: [ {{ name: a, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz, \
         grpc_service: {{ envoy_grpc: {{ cluster_name: c }} }}, {fields} }} }}, {{ name: r, typed_config: {{ \
         '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ] }} }} ] }} ] }} ] }}"
    );
    let bootstrap = convert::bootstrap(json::read_bootstrap(&text).expect("a bootstrap"));
    let bootstrap = bootstrap.expect("a bootstrap");
    let NetworkFilter::HttpConnectionManager(manager) =
        &bootstrap.listeners[0].filter_chains[0].filters[0]
    else {
        panic!("{text}");
    };
    let HttpFilterConfig::ExtAuthz(config) = &manager.filters[0].config else {
        panic!("{text}");
    };
    let address = "10.0.0.1:80".parse().expect("an address");
    let head = ::http::Request::get("http://web/").body(());
    let (head, ()) = head.expect("a request").into_parts();
    let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
    let decoding = Decoding {
        head: &head,
        edits: &mut edits,
        has_body: false,
        body: None,
        route: CachedRoute::new(&|_| None),
        stream: Stream {
            info: &NoValues,
            connection: &ConnectionAttributes {
                source: address,
                direct_remote: address,
                remote: address,
                destination: address,
                server_name: "sni.example",
                tls: Some(tls),
            },
            runtime: &Runtime::default(),
            random: &|| 1,
            metadata: &mut metadata,
            filter_state: &FilterState::EMPTY,
            clusters: None,
            now: Instant::now(),
        },
    };
    let settings = Settings {
        service: &config.service,
        body: None,
        context_extensions: BTreeMap::new(),
    };
    check::request(config, &settings, &decoding, None)
}

#[test]
fn certificate_and_session_are_sent_where_they_are_asked_for() {
    let mut params = CertificateParams::default();
    let uri = URI.try_into().expect("a URI");
    params.subject_alt_names = vec![SanType::URI(uri)];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let mut tls = TlsInfo::default();
    tls.peer = vec![certificate.der().clone()];
    let of = |fields: &str| {
        let attributes = told(fields, &tls).attributes.expect("attributes");
        let source = attributes.source.expect("a source");
        assert_eq!(source.principal, URI);
        let http = attributes.request.expect("a request").http;
        assert_eq!(http.expect("HTTP").scheme, "https");
        (source.certificate, attributes.tls_session.map(|it| it.sni))
    };
    assert_eq!(of(""), (String::new(), None));
    let (certificate, sni) = of("include_peer_certificate: true, include_tls_session: true");
    assert!(certificate.starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
    assert_eq!(sni.as_deref(), Some("sni.example"));
}
