//! What a handshake has agreed on, and shown of the peer.

use std::{cell::OnceCell, fmt::Write, net::IpAddr, sync::Arc};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::{
    CommonState, HandshakeKind, NamedGroup, ProtocolVersion, pki_types::CertificateDer,
    sign::CertifiedKey,
};
use x509_parser::{
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev},
    prelude::{FromDer, X509Certificate},
    x509::X509Name,
};

use super::verify::ip;

/// What a handshake has agreed on, and shown of the peer.
#[derive(Debug, Default)]
pub struct TlsInfo {
    /// The peer's chain, leaf first; empty if it showed none.
    pub(crate) peer: Vec<CertificateDer<'static>>,
    /// Our own certificate.
    pub(super) local: Option<Arc<CertifiedKey>>,
    /// ALPN, if the two have agreed on a protocol.
    pub(crate) application_protocol: Option<Box<str>>,
    /// `TLSv1.3`
    pub(crate) version: &'static str,
    /// As rustls calls it.
    pub(crate) cipher_suite: &'static str,
    /// The group of the key exchange, as BoringSSL calls it; none where there was none.
    pub(crate) group: Option<&'static str>,
    /// An earlier session was resumed.
    pub(crate) is_resumed: bool,
    /// Read when they are first asked for.
    names: OnceCell<Option<Box<Names>>>,
    local_names: OnceCell<Option<Box<Names>>>,
}

/// What a certificate says.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// As RFC 2253 writes it.
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// Hexadecimal.
    pub(crate) serial: String,
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) emails: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// A hash of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fingerprint {
    Sha256,
    Sha1,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Hexadecimal.
    fn of(self, certificate: &CertificateDer<'_>) -> String {
        let algorithm = match self {
            Self::Sha256 => &SHA256,
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        };
        hex(digest(algorithm, certificate).as_ref())
    }
}

// === impl TlsInfo ===

impl TlsInfo {
    pub(super) fn of(common: &CommonState, local: Option<Arc<CertifiedKey>>) -> Self {
        let protocol = common.alpn_protocol();
        let suite = common.negotiated_cipher_suite();
        Self {
            peer: common
                .peer_certificates()
                .map(<[_]>::to_vec)
                .unwrap_or_default(),
            local,
            application_protocol: protocol.map(|name| String::from_utf8_lossy(name).into()),
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "",
            },
            cipher_suite: suite
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            group: common
                .negotiated_key_exchange_group()
                .and_then(|group| group_name(group.name())),
            is_resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            ..Self::default()
        }
    }

    /// Of a peer that would show a certificate with this URI, or none.
    pub(crate) fn of_identity(uri: Option<&str>) -> Self {
        let names = uri.map(|uri| {
            Box::new(Names {
                uris: vec![uri.to_owned()],
                ..Names::default()
            })
        });
        Self {
            names: OnceCell::from(names),
            ..Self::default()
        }
    }

    /// What the peer's certificate says; none if it showed none.
    pub(crate) fn peer_names(&self) -> Option<&Names> {
        let names = self.names.get_or_init(|| Names::of(self.peer.first()?));
        names.as_deref()
    }

    /// What our own certificate says.
    pub(crate) fn local_names(&self) -> Option<&Names> {
        let leaf = || self.local.as_ref()?.cert.first();
        let names = self.local_names.get_or_init(|| Names::of(leaf()?));
        names.as_deref()
    }

    /// A hash of the peer's certificate, hexadecimal.
    pub(crate) fn fingerprint(&self, kind: Fingerprint) -> Option<String> {
        self.peer.first().map(|certificate| kind.of(certificate))
    }

    /// Those of the peer's chain, leaf first.
    pub(crate) fn fingerprints(&self, kind: Fingerprint) -> Vec<String> {
        self.peer
            .iter()
            .map(|certificate| kind.of(certificate))
            .collect()
    }

    /// The serial numbers of the peer's chain, leaf first.
    pub(crate) fn peer_serials(&self) -> Vec<String> {
        let names = self.peer.iter().filter_map(Names::of);
        names.map(|names| names.serial).collect()
    }

    /// The cipher suite as OpenSSL calls it.
    pub(crate) fn openssl_cipher(&self) -> String {
        if self.version == "TLSv1.3" {
            return self.cipher_suite.replace("TLS13_", "TLS_");
        }
        let name = self.cipher_suite.trim_start_matches("TLS_");
        let name = name.replace("WITH_", "").replace("AES_", "AES");
        let name = name.replace("POLY1305_SHA256", "POLY1305");
        name.replace('_', "-")
    }
}

fn group_name(group: NamedGroup) -> Option<&'static str> {
    Some(match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "P-256",
        NamedGroup::secp384r1 => "P-384",
        NamedGroup::MLKEM1024 => "MLKEM1024",
        _ => return None,
    })
}

/// A certificate in PEM, its reserved characters percent-encoded as Envoy does.
pub(crate) fn url_encoded_pem(certificates: &[CertificateDer<'_>]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let mut encoded = String::new();
    for certificate in certificates {
        encoded.push_str("-----BEGIN%20CERTIFICATE-----%0A");
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            for byte in line {
                match byte {
                    b'+' => encoded.push_str("%2B"),
                    b'/' => encoded.push_str("%2F"),
                    b'=' => encoded.push_str("%3D"),
                    byte => encoded.push(char::from(*byte)),
                }
            }
            encoded.push_str("%0A");
        }
        encoded.push_str("-----END%20CERTIFICATE-----%0A");
    }
    encoded
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A serial number as BoringSSL prints it: whole bytes, without those in front that are zero.
fn serial(bytes: &[u8]) -> String {
    match bytes.iter().position(|byte| *byte != 0) {
        Some(first) => hex(&bytes[first..]),
        None => "0".to_owned(),
    }
}

// === impl Names ===

impl Names {
    /// None if the certificate cannot be read.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Box<Self>> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let validity = certificate.validity();
        let mut names = Box::new(Self {
            subject: rfc2253(certificate.subject()),
            issuer: rfc2253(certificate.issuer()),
            serial: serial(certificate.raw_serial()),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            ..Self::default()
        });
        let sans = certificate.subject_alternative_name().ok().flatten();
        for name in sans.iter().flat_map(|sans| &sans.value.general_names) {
            match name {
                GeneralName::URI(name) => names.uris.push((*name).to_owned()),
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        Some(names)
    }

    /// Who it is, as Envoy has rules ask: its URIs, or else its DNS names, or else its subject.
    pub(crate) fn any_principal(&self, is: impl Fn(&str) -> bool) -> bool {
        self.uris.iter().any(|name| is(name))
            || self.dns.iter().any(|name| is(name))
            || is(&self.subject)
    }
}

/// The name as OpenSSL prints it by RFC 2253: the last part first.
fn rfc2253(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.into_iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(name) => text.push_str(name),
                Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
            }
            text.push('=');
            escape(attribute.as_str().unwrap_or_default(), &mut text);
        }
    }
    text
}

fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let at_an_end = index == 0 || index == last;
        let is_special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (character == ' ' && at_an_end)
            || (character == '#' && index == 0);
        if is_special {
            out.push('\\');
        }
        out.push(character);
    }
}
