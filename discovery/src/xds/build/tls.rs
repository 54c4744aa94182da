//! Mutual TLS between workloads: the transport sockets of both ends, as Istio's proxies have them.
//!
//! An endpoint whose sidecar takes mutual TLS is marked in its metadata, and a client speaks TLS with
//! exactly those: what is not marked is spoken to as before, and what is marked never in plaintext.
//! The protocols that the client names by ALPN (`istio`, `istio-http/1.1`, `istio-h2`) tell TLS of the
//! mesh from the application's own. `istio-peer-exchange` is never named: peers that choose it expect
//! a header before the bytes of the application.

use std::{collections::BTreeSet, sync::Arc};

use weir_api::{
    annotations::TLS_MODE_MUTUAL,
    spiffe::{SpiffeId, TrustDomain},
    xds::{
        TLS_MODE, codec,
        envoy::{
            config::{
                cluster::v3::cluster::TransportSocketMatch,
                core::v3::{
                    DataSource, TransportSocket, data_source::Specifier,
                    transport_socket::ConfigType,
                },
            },
            extensions::transport_sockets::{
                raw_buffer::v3::RawBuffer,
                tls::v3::{
                    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext,
                    SdsSecretConfig, SubjectAltNameMatcher, TlsCertificate, TlsParameters,
                    UpstreamTlsContext,
                    common_tls_context::{
                        CombinedCertificateValidationContext, ValidationContextType,
                    },
                    subject_alt_name_matcher::SanType,
                    tls_parameters::TlsProtocol,
                },
            },
            r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
        },
        google::protobuf::{Any, Struct, Value, value},
    },
};

use super::{ads, boolean};
use crate::{
    model::{Protocol, TlsOrigination},
    xds::ROOT_CA,
};

/// Name of the secret with a workload's own certificate, as Istio has it.
const OWN: &str = "default";
const TLS: &str = "envoy.transport_sockets.tls";
const RAW: &str = "envoy.transport_sockets.raw_buffer";

/// What clients of the mesh name where HTTP is spoken.
pub(super) const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What they name otherwise.
pub(super) const MESH_TCP: [&str; 2] = ["istio-peer-exchange", "istio"];
/// What is spoken within TLS, where HTTP is.
pub(super) const HTTP: [&str; 2] = ["h2", "http/1.1"];

/// Whom a client expects behind the endpoints of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::xds) enum Peers {
    /// One of these.
    Accounts(BTreeSet<SpiffeId>),
    /// Anybody whose identity begins so: of a service of which no endpoint is known.
    Prefix(String),
}

/// What a cluster needs to know of its other end.
#[derive(Debug)]
pub(in crate::xds) struct Upstream {
    pub(in crate::xds) protocol: Protocol,
    /// Port of the service, group of endpoints and host, as a cluster is named after them.
    pub(in crate::xds) port: u16,
    pub(in crate::xds) subset: String,
    pub(in crate::xds) host: String,
    pub(in crate::xds) peers: Peers,
}

// === impl Upstream ===

impl Upstream {
    /// TLS with marked endpoints, and with others none.
    pub(in crate::xds) fn matches(&self) -> Vec<TransportSocketMatch> {
        let tls = self.context();
        let mutual = Value {
            kind: Some(value::Kind::StringValue(TLS_MODE_MUTUAL.to_owned())),
        };
        vec![
            TransportSocketMatch {
                name: "tlsMode-istio".to_owned(),
                r#match: Some(Struct {
                    fields: [(TLS_MODE.to_owned(), mutual)].into(),
                }),
                transport_socket: Some(socket(TLS, codec::pack_upstream_tls_context(&tls))),
            },
            TransportSocketMatch {
                name: "tlsMode-disabled".to_owned(),
                r#match: Some(Struct::default()),
                transport_socket: Some(socket(RAW, codec::pack_raw_buffer(&RawBuffer::default()))),
            },
        ]
    }

    /// TLS with every endpoint, marked or not.
    pub(in crate::xds) fn socket(&self) -> TransportSocket {
        socket(TLS, codec::pack_upstream_tls_context(&self.context()))
    }

    fn context(&self) -> UpstreamTlsContext {
        let names = match &self.peers {
            Peers::Accounts(ids) => ids
                .iter()
                .map(|id| uri(MatchPattern::Exact(id.to_string())))
                .collect(),
            Peers::Prefix(prefix) => vec![uri(MatchPattern::Prefix(prefix.clone()))],
        };
        // Who speaks either carries it as what it is not told apart from.
        let alpn: &[&str] = match self.protocol {
            Protocol::Http => &["istio-http/1.1", "istio"],
            Protocol::Http2 => &["istio-h2", "istio", "h2"],
            Protocol::Auto | Protocol::Tcp | Protocol::Tls => &["istio"],
        };
        UpstreamTlsContext {
            sni: format!("outbound_.{}_.{}_.{}", self.port, self.subset, self.host),
            common_tls_context: Some(common(names, alpn)),
            ..UpstreamTlsContext::default()
        }
    }
}

/// TLS as a rule says it, with somebody who is not of the mesh.
///
/// `names` are those of which the certificate has one.
pub(in crate::xds) fn origination(
    said: &TlsOrigination,
    names: &[Arc<str>],
    protocol: Protocol,
) -> TransportSocket {
    let file = |path: &Arc<str>| DataSource {
        specifier: Some(Specifier::Filename(path.to_string())),
        ..DataSource::default()
    };
    let certificates = said.certificate.iter().map(|(chain, key)| TlsCertificate {
        certificate_chain: Some(file(chain)),
        private_key: Some(file(key)),
        ..TlsCertificate::default()
    });
    let matchers = names.iter().flat_map(|name| {
        let kinds = [SanType::Dns, SanType::Uri];
        kinds.map(|kind| SubjectAltNameMatcher {
            san_type: kind.into(),
            ..uri(MatchPattern::Exact(name.to_string()))
        })
    });
    let validation = said.authorities.as_ref().map(|authorities| {
        ValidationContextType::ValidationContext(CertificateValidationContext {
            trusted_ca: Some(file(authorities)),
            match_typed_subject_alt_names: matchers.collect(),
            ..CertificateValidationContext::default()
        })
    });
    let context = UpstreamTlsContext {
        auto_sni_san_validation: said.sni.is_some() && names.is_empty() && validation.is_some(),
        sni: said.sni.as_deref().unwrap_or_default().to_owned(),
        common_tls_context: Some(CommonTlsContext {
            tls_certificates: certificates.collect(),
            alpn_protocols: match protocol {
                Protocol::Http2 => vec!["h2".to_owned()],
                _ => Vec::new(),
            },
            validation_context_type: validation,
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    socket(TLS, codec::pack_upstream_tls_context(&context))
}

/// Of a chain that serves clients of the mesh alone.
pub(super) fn downstream(trust_domain: &TrustDomain, alpn: &[&str]) -> TransportSocket {
    let anybody = uri(MatchPattern::Prefix(trust_domain.prefix()));
    let context = DownstreamTlsContext {
        common_tls_context: Some(common(vec![anybody], alpn)),
        require_client_certificate: Some(boolean(true)),
        ..DownstreamTlsContext::default()
    };
    socket(TLS, codec::pack_downstream_tls_context(&context))
}

/// The workload's own certificate, and those of peers that the mesh's authority signed and that have
/// one of these names.
fn common(names: Vec<SubjectAltNameMatcher>, alpn: &[&str]) -> CommonTlsContext {
    let secret = |name: &str| SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(ads()),
    };
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: names,
            ..CertificateValidationContext::default()
        }),
        validation_context_sds_secret_config: Some(secret(ROOT_CA)),
        ..CombinedCertificateValidationContext::default()
    };
    CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..TlsParameters::default()
        }),
        tls_certificate_sds_secret_configs: vec![secret(OWN)],
        alpn_protocols: alpn.iter().map(|it| (*it).to_owned()).collect(),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn uri(pattern: MatchPattern) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(pattern),
            ..StringMatcher::default()
        }),
        ..SubjectAltNameMatcher::default()
    }
}

fn socket(name: &str, config: Any) -> TransportSocket {
    TransportSocket {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(config)),
    }
}
