//! Secrets: certificates with their keys, what certificates are judged by, and keys of tickets.
//!
//! What is secret is in no problem that is reported.

use std::{fs, path::PathBuf, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    RootCertStore, SignatureAlgorithm,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use weir_api::xds::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3 as pb,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    at::{At, take},
    matcher::string_matcher,
    value::{enumeration, non_empty},
};
use crate::config::{
    matcher::StringMatcher,
    tls::{
        LoadedSecret, SanKind, SanMatcher, Secret, SecretFiles, SecretValue, TicketKey, TicketKeys,
        TlsCertificate, TrustedCa, ValidationContext,
    },
};

/// What is shown of a value that is secret.
const REDACTED: &str = "[redacted]";
/// Bytes of a key of tickets: a name, a key for integrity, a key for secrecy.
const TICKET_KEY: usize = 80;

/// The files that a secret was read from.
type Files = Vec<PathBuf>;

pub(super) fn secret(at: &At<'_>, message: pb::Secret) -> Option<LoadedSecret> {
    take!(at, message => pb::Secret { supported: name, r#type; });
    let kind = at.field("type").required(r#type)?;
    let field = match &kind {
        pb::secret::Type::TlsCertificate(_) => "tls_certificate",
        pb::secret::Type::ValidationContext(_) => "validation_context",
        pb::secret::Type::SessionTicketKeys(_) => "session_ticket_keys",
        pb::secret::Type::GenericSecret(_) => "generic_secret",
    };
    loaded(&at.field(field), name, kind)
}

/// The same of a message that stands where it is used, which is `at`, and has no name.
pub(super) fn inline(at: &At<'_>, kind: pb::secret::Type) -> Option<LoadedSecret> {
    loaded(at, String::new(), kind)
}

fn loaded(at: &At<'_>, name: String, kind: pb::secret::Type) -> Option<LoadedSecret> {
    use pb::secret::Type;

    let message = pb::Secret {
        name: name.clone(),
        r#type: Some(kind.clone()),
    };
    let mut paths = Files::new();
    let value = match kind {
        Type::TlsCertificate(kind) => {
            SecretValue::Certificate(tls_certificate(at, kind, &mut paths)?)
        }
        Type::ValidationContext(kind) => {
            SecretValue::Validation(validation_context(at, kind, &mut paths)?)
        }
        Type::SessionTicketKeys(kind) => {
            SecretValue::TicketKeys(ticket_keys(at, kind, &mut paths)?)
        }
        Type::GenericSecret(_) => {
            at.unsupported(REDACTED);
            return None;
        }
    };
    Some(LoadedSecret {
        secret: Arc::new(Secret { name, value }),
        files: (!paths.is_empty()).then_some(SecretFiles { message, paths }),
    })
}

fn tls_certificate(
    at: &At<'_>,
    message: pb::TlsCertificate,
    files: &mut Files,
) -> Option<TlsCertificate> {
    let redact = |source: Option<DataSource>| source.map(|_| redacted());
    let message = pb::TlsCertificate {
        pkcs12: redact(message.pkcs12),
        password: redact(message.password),
        private_key_provider: message
            .private_key_provider
            .map(|provider| pb::PrivateKeyProvider {
                config_type: None,
                ..provider
            }),
        ..message
    };
    take!(at, message => pb::TlsCertificate {
        supported: certificate_chain, private_key;
        ignored: watched_directory = "files are looked at in any case";
        refused: pkcs12, private_key_provider, password, ocsp_staple, signed_certificate_timestamp,
            tls_params;
    });
    let (at_chain, at_key) = (at.field("certificate_chain"), at.field("private_key"));
    let mut read = |at: &At<'_>, source| data(at, source, files);
    let chain = at_chain
        .required(certificate_chain)
        .and_then(|source| read(&at_chain, source));
    let key = at_key
        .required(private_key)
        .and_then(|source| read(&at_key, source));
    let chain = certificates(&at_chain, &chain?)?;
    let key = PrivateKeyDer::from_pem_slice(&key?)
        .map_err(|error| at_key.error(of_pem(&error, "private key")))
        .ok()?;
    let key = any_supported_type(&key)
        .map_err(|_| at_key.error("a private key of a kind that is not supported"))
        .ok()?;
    let certified = CertifiedKey::new(chain, key);
    if certified.keys_match().is_err() {
        at_key.error("is not the key of the certificate");
        return None;
    }
    let dns_names = dns_names(certified.cert.first()?);
    Some(TlsCertificate {
        is_ecdsa: certified.key.algorithm() == SignatureAlgorithm::ECDSA,
        key: Arc::new(certified),
        dns_names,
    })
}

/// DNS names of a certificate: its SANs, or else its common name.
fn dns_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let sans = leaf.subject_alternative_name().ok().flatten();
    let sans = sans.iter().flat_map(|sans| &sans.value.general_names);
    let names = sans.filter_map(|name| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        return names;
    }
    let common = leaf.subject().iter_common_name();
    let common = common.filter_map(|name| name.as_str().ok());
    common.map(str::to_ascii_lowercase).collect()
}

fn validation_context(
    at: &At<'_>,
    message: pb::CertificateValidationContext,
    files: &mut Files,
) -> Option<ValidationContext> {
    use pb::certificate_validation_context::TrustChainVerification;

    /// Envoy's depth counts the certificate of the authority, too.
    const ANCHOR: u32 = 1;
    /// Envoy's bound.
    const DEEPEST: u32 = 100;

    take!(at, message => pb::CertificateValidationContext {
        supported: trusted_ca, verify_certificate_spki, verify_certificate_hash,
            match_typed_subject_alt_names, match_subject_alt_names, crl,
            allow_expired_certificate, trust_chain_verification, only_verify_leaf_cert_crl,
            max_verify_depth, suppress_client_ca_list;
        ignored: watched_directory = "files are looked at in any case";
        refused: ca_certificate_provider_instance, system_root_certs, custom_validator_config,
            require_signed_certificate_timestamp;
    });
    if let Some(depth) = max_verify_depth.filter(|depth| depth.value > DEEPEST) {
        at.field("max_verify_depth")
            .error(format!("{}: at most {DEEPEST}", depth.value));
    }
    let mut read = |field: &str, source: Option<DataSource>| match source {
        Some(source) => data(&at.field(field), source, files).map(Some),
        None => Some(None),
    };
    let (trusted_ca, crl) = (read("trusted_ca", trusted_ca), read("crl", crl));
    let at_spki = at.field("verify_certificate_spki");
    let at_hash = at.field("verify_certificate_hash");
    let spki = verify_certificate_spki.iter().map(|text| {
        let decoded = STANDARD.decode(text).ok();
        decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
    });
    let spki = sound(&at_spki, spki, "a SHA-256 in base64 is needed");
    let hashes = verify_certificate_hash.iter().map(|text| from_hex(text));
    let hashes = sound(&at_hash, hashes, "a SHA-256 in hexadecimal is needed");
    let at_verification = at.field("trust_chain_verification");
    let verification = enumeration(&at_verification, trust_chain_verification);
    let trusted_ca = match trusted_ca? {
        Some(pem) => Some(Arc::new(self::trusted_ca(&at.field("trusted_ca"), &pem)?)),
        None => None,
    };
    let crls = match crl? {
        Some(pem) => Some(Arc::new(crls(&at.field("crl"), &pem)?)),
        None => None,
    };
    let mut san_matchers = typed_matchers(
        &at.field("match_typed_subject_alt_names"),
        match_typed_subject_alt_names,
    );
    let at_older = at.field("match_subject_alt_names");
    let is_older_used = san_matchers.is_empty();
    for (index, message) in match_subject_alt_names.into_iter().enumerate() {
        let matcher = string_matcher(&at_older.index(index), message);
        if let Some(matcher) = matcher.filter(|_| is_older_used) {
            san_matchers.extend(of_any_kind(&matcher));
        }
    }
    Some(ValidationContext {
        trusted_ca,
        crls,
        spki,
        hashes,
        san_matchers,
        allow_expired_certificate,
        accept_untrusted: verification == Some(TrustChainVerification::AcceptUntrusted),
        only_verify_leaf_cert_crl,
        max_verify_depth: max_verify_depth.map(|depth| depth.value.saturating_sub(ANCHOR)),
        suppress_client_ca_list,
    })
}

/// Those that could be read; says which could not.
fn sound<T>(at: &At<'_>, values: impl Iterator<Item = Option<T>>, needed: &'static str) -> Vec<T> {
    let values = values.enumerate().filter_map(|(index, value)| {
        if value.is_none() {
            at.index(index).error(needed);
        }
        value
    });
    values.collect()
}

/// Of an entry that does not say which kind of name it means.
fn of_any_kind(matcher: &StringMatcher) -> [SanMatcher; 4] {
    [
        SanKind::Dns,
        SanKind::Uri,
        SanKind::Email,
        SanKind::IpAddress,
    ]
    .map(|kind| SanMatcher {
        kind,
        matcher: matcher.clone(),
    })
}

fn typed_matchers(at: &At<'_>, messages: Vec<pb::SubjectAltNameMatcher>) -> Vec<SanMatcher> {
    use pb::subject_alt_name_matcher::SanType;

    let matcher = |(index, message)| {
        let at = at.index(index);
        take!(at, message => pb::SubjectAltNameMatcher { supported: san_type, matcher, oid; });
        let at_matcher = at.field("matcher");
        let matcher = string_matcher(&at_matcher, at_matcher.required(matcher)?)?;
        let kind = match enumeration(&at.field("san_type"), san_type)? {
            SanType::Unspecified => {
                at.field("san_type").error("required");
                return None;
            }
            SanType::Email => SanKind::Email,
            SanType::Dns => SanKind::Dns,
            SanType::Uri => SanKind::Uri,
            SanType::IpAddress => SanKind::IpAddress,
            SanType::OtherName => SanKind::OtherName(non_empty(&at.field("oid"), oid)),
        };
        Some(SanMatcher { kind, matcher })
    };
    messages
        .into_iter()
        .enumerate()
        .filter_map(matcher)
        .collect()
}

fn trusted_ca(at: &At<'_>, pem: &[u8]) -> Option<TrustedCa> {
    let certificates = certificates(at, pem)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        if let Err(error) = roots.add(certificate.clone()) {
            at.error(format!("a certificate that cannot be read: {error}"));
            return None;
        }
    }
    Some(TrustedCa {
        roots,
        certificates,
    })
}

fn crls(at: &At<'_>, pem: &[u8]) -> Option<Vec<CertRevocationList<'static>>> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let lists = lists
        .map_err(|error| at.error(of_pem(&error, "CRL")))
        .ok()?;
    if lists.is_empty() {
        at.error("has no CRL");
        return None;
    }
    let owned = lists.iter().map(|list| {
        let list = BorrowedCertRevocationList::from_der(list.as_ref());
        list.and_then(|list| list.to_owned())
    });
    let owned: Result<Vec<_>, webpki::Error> = owned.map(|list| list.map(Into::into)).collect();
    owned
        .map_err(|error| at.error(format!("a CRL that cannot be read: {error}")))
        .ok()
}

fn ticket_keys(
    at: &At<'_>,
    message: pb::TlsSessionTicketKeys,
    files: &mut Files,
) -> Option<TicketKeys> {
    take!(at, message => pb::TlsSessionTicketKeys { supported: keys; });
    let at = at.field("keys");
    if keys.is_empty() {
        at.error("must not be empty");
    }
    let key = |(index, source)| {
        let at = at.index(index);
        let bytes = data(&at, source, files)?;
        let Ok(bytes) = <[u8; TICKET_KEY]>::try_from(bytes) else {
            at.error(format!("must have {TICKET_KEY} bytes"));
            return None;
        };
        let (name, rest) = bytes.split_first_chunk::<16>()?;
        let key = rest.last_chunk::<32>()?;
        Some(TicketKey {
            name: *name,
            key: *key,
        })
    };
    let keys: Vec<TicketKey> = keys.into_iter().enumerate().filter_map(key).collect();
    (!keys.is_empty()).then_some(TicketKeys(keys))
}

fn certificates(at: &At<'_>, pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            at.error("has no certificate");
            None
        }
        Ok(certificates) => {
            let unreadable =
                |certificate: &&CertificateDer<'_>| X509Certificate::from_der(certificate).is_err();
            if certificates.iter().find(unreadable).is_some() {
                at.error("a certificate that cannot be read");
                return None;
            }
            Some(certificates)
        }
        Err(error) => {
            at.error(of_pem(&error, "certificate"));
            None
        }
    }
}

/// What is wrong with PEM, without any of it.
fn of_pem(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("has no {what} in PEM"),
        _ => format!("no {what} in PEM can be read from it"),
    }
}

/// What is in a source, which may be a file.
fn data(at: &At<'_>, message: DataSource, files: &mut Files) -> Option<Vec<u8>> {
    take!(at, message => DataSource {
        supported: specifier;
        ignored: watched_directory = "files are looked at in any case";
    });
    match at.required(specifier)? {
        Specifier::InlineString(text) => Some(text.into_bytes()),
        Specifier::InlineBytes(bytes) => Some(bytes),
        Specifier::Filename(name) => {
            let at = at.field("filename");
            let path = PathBuf::from(non_empty(&at, name));
            let read = fs::read(&path);
            let read = read.map_err(|error| at.error(format!("{}: {error}", path.display())));
            files.push(path);
            read.ok()
        }
        Specifier::EnvironmentVariable(name) => {
            at.field("environment_variable")
                .unsupported(format!("{name:?} (inline data and files are)"));
            None
        }
    }
}

fn redacted() -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineString(REDACTED.to_owned())),
        watched_directory: None,
    }
}

/// Bytes from hexadecimal digits, pairs of which may be kept apart by colons.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| *character != ':')
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    (digits.len() == 64)
        .then(|| bytes.try_into().ok())
        .flatten()
}
