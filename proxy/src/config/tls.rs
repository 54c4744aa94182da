//! `envoy.extensions.transport_sockets.tls.v3`: TLS, and what it needs to be secret.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, SupportedCipherSuite, SupportedProtocolVersion, crypto::SupportedKxGroup,
    pki_types::CertificateDer, sign::CertifiedKey,
};
use webpki::CertRevocationList;
use weir_api::xds::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::matcher::StringMatcher;

/// How bytes are carried (`transport_socket`).
#[derive(Debug)]
pub enum TransportSocket<C> {
    /// `envoy.transport_sockets.raw_buffer`
    RawBuffer,
    /// `envoy.transport_sockets.tls`
    Tls(Arc<C>),
}

/// `DownstreamTlsContext`
#[derive(Debug)]
pub struct DownstreamTlsContext {
    /// What both sides have in common.
    pub common: CommonTlsContext,
    /// A client without a certificate is refused.
    pub require_client_certificate: bool,
    /// With a name that no certificate has, the certificate goes by the kind of its key rather
    /// than by its place.
    pub full_scan_certs_on_sni_mismatch: bool,
    /// The client's order of cipher suites counts.
    pub prefer_client_ciphers: bool,
    /// Sessions may be resumed by tickets.
    pub tickets: Tickets,
    /// How long a session may be resumed.
    pub session_timeout: Option<Duration>,
}

/// What seals session tickets.
#[derive(Debug)]
pub enum Tickets {
    /// Nothing: there are none.
    Disabled,
    /// Keys of this process, which change by themselves.
    Own,
    /// Keys that others have, too.
    Keys(SecretRef),
}

/// `UpstreamTlsContext`
#[derive(Debug)]
pub struct UpstreamTlsContext {
    /// What both sides have in common.
    pub common: CommonTlsContext,
    /// SNI; empty for none.
    pub sni: String,
    /// SNI is the endpoint's hostname, where it has one.
    pub auto_host_sni: bool,
    /// The endpoint's certificate must be of the name in SNI.
    pub auto_sni_san_validation: bool,
    /// Sessions kept for each name that was asked for; with none, none is resumed.
    pub max_session_keys: usize,
}

/// `CommonTlsContext`
#[derive(Debug)]
pub struct CommonTlsContext {
    /// Versions, ciphers and groups.
    pub parameters: TlsParameters,
    /// The certificates to choose from.
    pub certificates: Vec<SecretRef>,
    /// How the peer's certificate is judged: one after the other adds to it. Without any, none is
    /// asked for, or any is taken.
    pub validation: Vec<SecretRef>,
    /// ALPN, in the order of preference.
    pub alpn_protocols: Vec<Vec<u8>>,
    /// Equal for equal messages.
    pub fingerprint: u64,
}

/// `TlsParameters`
#[derive(Debug, Clone)]
pub struct TlsParameters {
    /// Versions that are spoken.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// In the order of preference.
    pub cipher_suites: Vec<SupportedCipherSuite>,
    /// Groups of the key exchange (`ecdh_curves`), in the order of preference.
    pub groups: Vec<&'static dyn SupportedKxGroup>,
}

/// Where a secret comes from.
#[derive(Debug, Clone)]
pub enum SecretRef {
    /// It stands in the message.
    Inline(Arc<LoadedSecret>),
    /// It comes by its name.
    Sds(SecretName),
}

/// A secret that comes by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName {
    /// Who knows it.
    pub source: SecretSource,
    /// Its name there.
    pub name: String,
}

/// Who knows secrets by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretSource {
    /// The bootstrap (`static_resources.secrets`).
    Static,
    /// The control plane, over the aggregated stream.
    Ads,
    /// A file with a DiscoveryResponse (`path_config_source`).
    Path {
        /// The file.
        path: PathBuf,
    },
}

/// A secret, and how it is read anew.
#[derive(Debug)]
pub struct LoadedSecret {
    /// As it was when it was read.
    pub secret: Arc<Secret>,
    /// The message and the files that it names, if it names any.
    pub files: Option<SecretFiles>,
}

/// A secret that lies in files.
pub struct SecretFiles {
    /// What is converted again when a file changes.
    pub message: pb::Secret,
    /// The files.
    pub paths: Vec<PathBuf>,
}

/// `Secret`
#[derive(Debug)]
pub struct Secret {
    /// Its name; empty for one that has none.
    pub name: String,
    /// What it is.
    pub value: SecretValue,
}

/// What a secret is.
#[derive(Debug)]
pub enum SecretValue {
    /// `tls_certificate`
    Certificate(TlsCertificate),
    /// `validation_context`
    Validation(ValidationContext),
    /// `session_ticket_keys`
    TicketKeys(TicketKeys),
}

/// `TlsCertificate`: a chain and its key.
pub struct TlsCertificate {
    /// The chain, leaf first, with the key.
    pub key: Arc<CertifiedKey>,
    /// DNS names of the leaf, lower case: its SANs, or else its common name.
    pub dns_names: Vec<String>,
    /// Whether the key is one of an elliptic curve.
    pub is_ecdsa: bool,
}

/// `TlsSessionTicketKeys`: the first seals, all open.
pub struct TicketKeys(pub Vec<TicketKey>);

/// One key of tickets.
#[derive(Clone)]
pub struct TicketKey {
    /// Stands in front of what it has sealed.
    pub name: [u8; 16],
    /// The key.
    pub key: [u8; 32],
}

/// `CertificateValidationContext`
#[derive(Clone, Default)]
pub struct ValidationContext {
    /// `trusted_ca`; none: chains are not judged.
    pub trusted_ca: Option<Arc<TrustedCa>>,
    /// `crl`
    pub crls: Option<Arc<Vec<CertRevocationList<'static>>>>,
    /// SHA-256 of public keys, one of which the leaf must have; or
    pub spki: Vec<[u8; 32]>,
    /// SHA-256 of certificates, one of which the leaf must be.
    pub hashes: Vec<[u8; 32]>,
    /// One of these must match a name of the leaf.
    pub san_matchers: Vec<SanMatcher>,
    /// Certificates may be out of date.
    pub allow_expired_certificate: bool,
    /// What cannot be verified is taken all the same (`ACCEPT_UNTRUSTED`).
    pub accept_untrusted: bool,
    /// Only the leaf is looked for in `crls`.
    pub only_verify_leaf_cert_crl: bool,
    /// Intermediate certificates between leaf and root, at most.
    pub max_verify_depth: Option<u32>,
    /// Clients are not told which authorities are trusted.
    pub suppress_client_ca_list: bool,
}

/// The authorities that are trusted.
pub struct TrustedCa {
    /// As rustls and webpki have them.
    pub roots: RootCertStore,
    /// The certificates.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// `SubjectAltNameMatcher`
#[derive(Debug, Clone)]
pub struct SanMatcher {
    /// The kind of name.
    pub kind: SanKind,
    /// What it must be.
    pub matcher: StringMatcher,
}

/// `SubjectAltNameMatcher.SanType`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SanKind {
    /// `EMAIL`
    Email,
    /// `DNS`
    Dns,
    /// `URI`
    Uri,
    /// `IP_ADDRESS`
    IpAddress,
    /// `OTHER_NAME`, of this object identifier.
    OtherName(String),
}

// === impl ValidationContext ===

impl ValidationContext {
    /// This one with what `other` adds, as protobuf merges messages.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        fn joined<T: Clone>(one: &[T], other: &[T]) -> Vec<T> {
            one.iter().chain(other).cloned().collect()
        }
        Self {
            trusted_ca: other.trusted_ca.clone().or_else(|| self.trusted_ca.clone()),
            crls: other.crls.clone().or_else(|| self.crls.clone()),
            spki: joined(&self.spki, &other.spki),
            hashes: joined(&self.hashes, &other.hashes),
            san_matchers: joined(&self.san_matchers, &other.san_matchers),
            allow_expired_certificate: self.allow_expired_certificate
                | other.allow_expired_certificate,
            accept_untrusted: self.accept_untrusted | other.accept_untrusted,
            only_verify_leaf_cert_crl: self.only_verify_leaf_cert_crl
                | other.only_verify_leaf_cert_crl,
            max_verify_depth: other.max_verify_depth.or(self.max_verify_depth),
            suppress_client_ca_list: self.suppress_client_ca_list | other.suppress_client_ca_list,
        }
    }
}

// === impl Debug ===

/// Keys are in no text: what is shown of a secret is its kind.
macro_rules! debug_without_content {
    ($($name:ident)+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), " { [redacted] }"))
            }
        }
    )+};
}
debug_without_content!(SecretFiles TlsCertificate TicketKeys TicketKey ValidationContext TrustedCa);

impl<C> Clone for TransportSocket<C> {
    fn clone(&self) -> Self {
        match self {
            Self::RawBuffer => Self::RawBuffer,
            Self::Tls(context) => Self::Tls(Arc::clone(context)),
        }
    }
}

// === impl CommonTlsContext ===

impl CommonTlsContext {
    /// All secrets that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.certificates.iter().chain(&self.validation)
    }
}

impl DownstreamTlsContext {
    /// All secrets that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let keys = match &self.tickets {
            Tickets::Keys(keys) => Some(keys),
            Tickets::Own | Tickets::Disabled => None,
        };
        self.common.secrets().chain(keys)
    }
}

impl SecretRef {
    /// Its name, if it comes over the aggregated stream.
    #[must_use]
    pub fn over_ads(&self) -> Option<&str> {
        match self {
            Self::Sds(name) if name.source == SecretSource::Ads => Some(&name.name),
            Self::Sds(_) | Self::Inline(_) => None,
        }
    }
}
