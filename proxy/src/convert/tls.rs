//! TLS of filter chains and of clusters.

use std::{
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::{
            ConfigSource, TransportSocket as PbTransportSocket,
            config_source::ConfigSourceSpecifier, transport_socket,
        },
        extensions::transport_sockets::tls::v3 as pb,
    },
    google::protobuf::Any,
};

use super::{
    at::{At, take},
    tls_parameters::tls_parameters,
    tls_secret::inline,
    value::{duration, non_empty, type_name, unpack, v3},
};
use crate::config::tls::{
    CommonTlsContext, DownstreamTlsContext, SecretName, SecretRef, SecretSource, SecretValue,
    Tickets, TransportSocket, UpstreamTlsContext,
};

const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
const DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// The transport socket of a filter chain; raw bytes if unset.
pub(super) fn downstream(
    at: &At<'_>,
    message: Option<PbTransportSocket>,
) -> Option<TransportSocket<DownstreamTlsContext>> {
    let read = codec::unpack_downstream_tls_context;
    transport_socket(at, message, DOWNSTREAM, read, downstream_context)
}

/// The transport socket of a cluster; raw bytes if unset.
pub(super) fn upstream(
    at: &At<'_>,
    message: Option<PbTransportSocket>,
) -> Option<TransportSocket<UpstreamTlsContext>> {
    let read = codec::unpack_upstream_tls_context;
    transport_socket(at, message, UPSTREAM, read, upstream_context)
}

/// `tls` is the type of TLS on this side, `read` and `context` what becomes of it.
fn transport_socket<M, C, E: Display>(
    at: &At<'_>,
    message: Option<PbTransportSocket>,
    tls: &str,
    read: impl FnOnce(&Any) -> Result<M, E>,
    context: impl FnOnce(&At<'_>, M, &Any) -> Option<C>,
) -> Option<TransportSocket<C>> {
    let Some(message) = message else {
        return Some(TransportSocket::RawBuffer);
    };
    take!(at, message => PbTransportSocket { supported: name, config_type; });
    non_empty(&at.field("name"), name);
    let at = at.field("typed_config");
    let transport_socket::ConfigType::TypedConfig(any) = at.required(config_type)?;
    match type_name(&any) {
        RAW_BUFFER => {
            unpack(&at, &any, codec::unpack_raw_buffer)?;
            Some(TransportSocket::RawBuffer)
        }
        name if name == tls => {
            let context = context(&at, unpack(&at, &any, read)?, &any)?;
            Some(TransportSocket::Tls(Arc::new(context)))
        }
        other => {
            at.unsupported(format!("transport socket {other}"));
            None
        }
    }
}

fn downstream_context(
    at: &At<'_>,
    message: pb::DownstreamTlsContext,
    any: &Any,
) -> Option<DownstreamTlsContext> {
    use pb::downstream_tls_context::SessionTicketKeysType;

    take!(at, message => pb::DownstreamTlsContext {
        supported: common_tls_context, require_client_certificate, session_timeout,
            full_scan_certs_on_sni_mismatch, prefer_client_ciphers, session_ticket_keys_type;
        ignored: disable_stateful_session_resumption = "sessions are resumed by tickets alone";
        refused: require_sni, ocsp_staple_policy;
    });
    let is_true = |value: Option<weir_api::xds::google::protobuf::BoolValue>| {
        value.is_some_and(|value| value.value)
    };
    let maximum = pb::tls_parameters::TlsProtocol::TlSv13;
    let common = common_context(
        &at.field("common_tls_context"),
        common_tls_context,
        maximum,
        any,
    )?;
    if common.certificates.is_empty() {
        at.field("common_tls_context")
            .error("a server needs tls_certificates or tls_certificate_sds_secret_configs");
    }
    let tickets = match session_ticket_keys_type {
        None | Some(SessionTicketKeysType::DisableStatelessSessionResumption(false)) => {
            Tickets::Own
        }
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)) => Tickets::Disabled,
        Some(SessionTicketKeysType::SessionTicketKeys(message)) => {
            let at = at.field("session_ticket_keys");
            let keys = inline(&at, pb::secret::Type::SessionTicketKeys(message))?;
            Tickets::Keys(SecretRef::Inline(Arc::new(keys)))
        }
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(message)) => {
            let at = at.field("session_ticket_keys_sds_secret_config");
            Tickets::Keys(SecretRef::Sds(by_name(&at, message)?))
        }
    };
    Some(DownstreamTlsContext {
        common,
        require_client_certificate: is_true(require_client_certificate),
        full_scan_certs_on_sni_mismatch: is_true(full_scan_certs_on_sni_mismatch),
        prefer_client_ciphers,
        tickets,
        session_timeout: duration(&at.field("session_timeout"), session_timeout),
    })
}

fn upstream_context(
    at: &At<'_>,
    message: pb::UpstreamTlsContext,
    any: &Any,
) -> Option<UpstreamTlsContext> {
    /// Envoy's default.
    const SESSION_KEYS: usize = 1;
    /// Envoy's bound.
    const LONGEST_SNI: usize = 255;

    take!(at, message => pb::UpstreamTlsContext {
        supported: common_tls_context, sni, auto_host_sni, auto_sni_san_validation,
            max_session_keys;
        ignored: enforce_rsa_key_usage = "Envoy ignores it, too";
        refused: allow_renegotiation;
    });
    if sni.len() > LONGEST_SNI {
        at.field("sni")
            .error(format!("must have at most {LONGEST_SNI} bytes"));
    }
    // Envoy's documentation says otherwise of clients; this is what it does.
    let maximum = pb::tls_parameters::TlsProtocol::TlSv13;
    let common = common_context(
        &at.field("common_tls_context"),
        common_tls_context,
        maximum,
        any,
    )?;
    if common.certificates.len() > 1 {
        at.field("common_tls_context")
            .error("a client has one certificate at most");
    }
    if auto_sni_san_validation && lacks_authority(&common.validation) {
        at.field("auto_sni_san_validation")
            .error("needs trusted_ca: anybody can make a certificate of any name");
    }
    Some(UpstreamTlsContext {
        common,
        sni,
        auto_host_sni,
        auto_sni_san_validation,
        max_session_keys: max_session_keys.map_or(SESSION_KEYS, |keys| keys.value as usize),
    })
}

fn common_context(
    at: &At<'_>,
    message: Option<pb::CommonTlsContext>,
    maximum: pb::tls_parameters::TlsProtocol,
    any: &Any,
) -> Option<CommonTlsContext> {
    let message = message.unwrap_or_default();
    take!(at, message => pb::CommonTlsContext {
        supported: tls_params, tls_certificates, tls_certificate_sds_secret_configs,
            alpn_protocols, validation_context_type;
        refused: tls_certificate_provider_instance, custom_tls_certificate_selector,
            tls_certificate_certificate_provider, tls_certificate_certificate_provider_instance,
            custom_handshaker, key_log;
    });
    let parameters = tls_parameters(&at.field("tls_params"), tls_params, maximum);
    let mut certificates = Vec::new();
    let at_certificates = at.field("tls_certificates");
    let at_names = at.field("tls_certificate_sds_secret_configs");
    if !tls_certificates.is_empty() && !tls_certificate_sds_secret_configs.is_empty() {
        at_names.error("must not be set together with tls_certificates");
    }
    for (index, message) in tls_certificates.into_iter().enumerate() {
        let at = at_certificates.index(index);
        let secret = inline(&at, pb::secret::Type::TlsCertificate(message));
        certificates.extend(secret.map(|secret| SecretRef::Inline(Arc::new(secret))));
    }
    for (index, message) in tls_certificate_sds_secret_configs.into_iter().enumerate() {
        let name = by_name(&at_names.index(index), message);
        certificates.extend(name.map(SecretRef::Sds));
    }
    let validation = match validation_context_type {
        Some(kind) => validation(at, kind)?,
        None => Vec::new(),
    };
    let at_protocols = at.field("alpn_protocols");
    let protocols = alpn_protocols.into_iter().enumerate();
    let mut hasher = DefaultHasher::new();
    any.value.hash(&mut hasher);
    Some(CommonTlsContext {
        parameters,
        certificates,
        validation,
        alpn_protocols: protocols
            .map(|(index, protocol)| {
                if !(1..=255).contains(&protocol.len()) {
                    at_protocols
                        .index(index)
                        .unsupported("a name that has not from 1 to 255 bytes");
                }
                protocol.into_bytes()
            })
            .collect(),
        fingerprint: hasher.finish(),
    })
}

fn validation(
    at: &At<'_>,
    kind: pb::common_tls_context::ValidationContextType,
) -> Option<Vec<SecretRef>> {
    use pb::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};

    let inline_context = |at: &At<'_>, message| {
        let secret = inline(at, pb::secret::Type::ValidationContext(message))?;
        Some(SecretRef::Inline(Arc::new(secret)))
    };
    match kind {
        ValidationContextType::ValidationContext(message) => {
            let at = at.field("validation_context");
            let secret = inline_context(&at, message)?;
            check_alone(&at, &secret);
            Some(vec![secret])
        }
        ValidationContextType::ValidationContextSdsSecretConfig(message) => {
            let at = at.field("validation_context_sds_secret_config");
            Some(vec![SecretRef::Sds(by_name(&at, message)?)])
        }
        ValidationContextType::CombinedValidationContext(message) => {
            let at = at.field("combined_validation_context");
            take!(at, message => CombinedCertificateValidationContext {
                supported: default_validation_context, validation_context_sds_secret_config;
                refused: validation_context_certificate_provider,
                    validation_context_certificate_provider_instance;
            });
            let at_default = at.field("default_validation_context");
            let at_name = at.field("validation_context_sds_secret_config");
            let default = inline_context(
                &at_default,
                at_default.required(default_validation_context)?,
            );
            let name = by_name(
                &at_name,
                at_name.required(validation_context_sds_secret_config)?,
            );
            Some(vec![default?, SecretRef::Sds(name?)])
        }
        #[expect(deprecated, reason = "to be refused by name")]
        ValidationContextType::ValidationContextCertificateProvider(_)
        | ValidationContextType::ValidationContextCertificateProviderInstance(_) => {
            at.field("validation_context_type")
                .unsupported("certificate providers");
            None
        }
    }
}

/// Envoy's rules for a context that nothing is added to.
fn check_alone(at: &At<'_>, secret: &SecretRef) {
    let SecretRef::Inline(loaded) = secret else {
        return;
    };
    let SecretValue::Validation(context) = &loaded.secret.value else {
        return;
    };
    if context.trusted_ca.is_some() {
        return;
    }
    if context.crls.is_some() {
        at.field("crl").error("needs trusted_ca");
    }
    if !context.san_matchers.is_empty() {
        at.field("match_typed_subject_alt_names")
            .error("needs trusted_ca: anybody can make a certificate of any name");
    }
    if context.allow_expired_certificate {
        at.field("allow_expired_certificate")
            .error("needs trusted_ca: without it, no certificate is too old");
    }
}

/// Whether no `trusted_ca` is there, nor can come by name.
fn lacks_authority(validation: &[SecretRef]) -> bool {
    validation.iter().all(|one| match one {
        SecretRef::Sds(_) => false,
        SecretRef::Inline(loaded) => match &loaded.secret.value {
            SecretValue::Validation(context) => context.trusted_ca.is_none(),
            _ => true,
        },
    })
}

fn by_name(at: &At<'_>, message: pb::SdsSecretConfig) -> Option<SecretName> {
    take!(at, message => pb::SdsSecretConfig { supported: name, sds_config; });
    let name = non_empty(&at.field("name"), name);
    let source = match sds_config {
        None => {
            at.refers_to_secret(&name);
            SecretSource::Static
        }
        Some(message) => source(&at.field("sds_config"), message)?,
    };
    Some(SecretName { source, name })
}

fn source(at: &At<'_>, message: ConfigSource) -> Option<SecretSource> {
    use weir_api::xds::envoy::config::core::v3::PathConfigSource;

    take!(at, message => ConfigSource {
        supported: resource_api_version, config_source_specifier;
        ignored: initial_fetch_timeout = "no listener and no cluster waits longer than 15 s";
        refused: authorities;
    });
    v3(&at.field("resource_api_version"), resource_api_version);
    match config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_)) => {
            at.needs_ads();
            Some(SecretSource::Ads)
        }
        Some(ConfigSourceSpecifier::PathConfigSource(message)) => {
            let at = at.field("path_config_source");
            take!(at, message => PathConfigSource {
                supported: path;
                ignored: watched_directory = "the file is looked at in any case",
                    poll_interval = "the file is looked at once a second, when a secret is used";
            });
            let path = PathBuf::from(non_empty(&at.field("path"), path));
            Some(SecretSource::Path { path })
        }
        None => {
            at.error("config_source_specifier: required");
            None
        }
        Some(other) => {
            #[expect(deprecated, reason = "to be refused by name")]
            let name = match other {
                ConfigSourceSpecifier::Path(_) => "path",
                ConfigSourceSpecifier::ApiConfigSource(_) => "api_config_source",
                ConfigSourceSpecifier::Self_(_) => "self",
                ConfigSourceSpecifier::Ads(_) => "ads",
                ConfigSourceSpecifier::PathConfigSource(_) => "path_config_source",
            };
            at.field(name)
                .unsupported("secrets come over ads and from path_config_source");
            None
        }
    }
}
