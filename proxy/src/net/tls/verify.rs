//! How a peer's certificate is judged, by Envoy's rules: the chain, then names, then pins.

use std::{net::IpAddr, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::config::{
    matcher::StringPattern,
    tls::{SanKind, SanMatcher, TrustedCa, ValidationContext},
};

/// Judges certificates of peers.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    context: ValidationContext,
    algorithms: WebPkiSupportedAlgorithms,
    /// A client without a certificate is refused.
    is_required: bool,
    /// A server's certificate must be of the name it was asked for.
    matches_server_name: bool,
    /// Whom a client's certificate may come from.
    subjects: Vec<DistinguishedName>,
}

/// A certificate that is sound, and not the one that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("the certificate has none of the names that were wanted")]
    San,
    #[error("the certificate is none of those that were wanted")]
    Hash,
}

// === impl PeerVerifier ===

impl PeerVerifier {
    /// Of clients.
    pub(super) fn of_clients(
        context: ValidationContext,
        algorithms: WebPkiSupportedAlgorithms,
        is_required: bool,
    ) -> Arc<Self> {
        let told = context
            .trusted_ca
            .as_ref()
            .filter(|_| !context.suppress_client_ca_list);
        Arc::new(Self {
            subjects: told.map(|ca| ca.roots.subjects()).unwrap_or_default(),
            context,
            algorithms,
            is_required,
            matches_server_name: false,
        })
    }

    /// Of servers.
    pub(super) fn of_servers(
        context: ValidationContext,
        algorithms: WebPkiSupportedAlgorithms,
        matches_server_name: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            algorithms,
            is_required: true,
            matches_server_name,
            subjects: Vec::new(),
        })
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: &dyn Fn() -> KeyUsage,
        name: Option<&ServerName<'_>>,
    ) -> Result<(), Error> {
        let judged = match &self.context.trusted_ca {
            Some(ca) => self
                .judge_chain(ca, leaf, intermediates, now, usage)
                .map_err(of_webpki),
            None => Ok(()),
        };
        let judged = judged.and_then(|()| self.judge_leaf(leaf, name));
        match judged {
            Err(error) if self.context.accept_untrusted => {
                tracing::debug!(%error, "a certificate that is not trusted is taken all the same");
                Ok(())
            }
            judged => judged,
        }
    }

    fn judge_chain(
        &self,
        ca: &TrustedCa,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: &dyn Fn() -> KeyUsage,
    ) -> Result<(), webpki::Error> {
        let judged = self.build_chain(ca, leaf, intermediates, now, usage);
        match judged {
            // One that is trusted by itself needs no authority.
            Err(webpki::Error::CaUsedAsEndEntity | webpki::Error::UnknownIssuer)
                if ca.certificates.iter().any(|trusted| trusted == leaf) =>
            {
                match self.context.allow_expired_certificate {
                    true => Ok(()),
                    false => in_date(leaf, now),
                }
            }
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. })
                if self.context.allow_expired_certificate =>
            {
                // Judged as of a time at which the leaf was in date.
                let validity = validity(leaf).ok_or(webpki::Error::BadDer)?;
                let at = |time| self.build_chain(ca, leaf, intermediates, time, usage);
                at(validity.1).or_else(|_| at(validity.0))
            }
            judged => judged,
        }
    }

    fn build_chain(
        &self,
        ca: &TrustedCa,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: &dyn Fn() -> KeyUsage,
    ) -> Result<(), webpki::Error> {
        let context = &self.context;
        let crls: Vec<&CertRevocationList<'_>> =
            context.crls.iter().flat_map(|lists| lists.iter()).collect();
        let revocation = RevocationOptionsBuilder::new(&crls).ok().map(|options| {
            let depth = match context.only_verify_leaf_cert_crl {
                true => RevocationCheckDepth::EndEntity,
                false => RevocationCheckDepth::Chain,
            };
            let options = options
                .with_depth(depth)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce);
            options.build()
        });
        let is_short = |path: &VerifiedPath<'_>| {
            let length = path.intermediate_certificates().count();
            match context.max_verify_depth {
                Some(most) if length > most as usize => Err(webpki::Error::UnknownIssuer),
                _ => Ok(()),
            }
        };
        EndEntityCert::try_from(leaf)?
            .verify_for_usage(
                self.algorithms.all,
                &ca.roots.roots,
                intermediates,
                now,
                usage(),
                revocation,
                Some(&is_short),
            )
            .map(drop)
    }

    fn judge_leaf(
        &self,
        leaf: &CertificateDer<'_>,
        name: Option<&ServerName<'_>>,
    ) -> Result<(), Error> {
        let context = &self.context;
        if let Some(name) = name.filter(|_| self.matches_server_name) {
            let certificate = EndEntityCert::try_from(leaf).map_err(of_webpki)?;
            certificate
                .verify_is_valid_for_subject_name(name)
                .map_err(|_| mismatch(Mismatch::San))?;
        }
        if !context.san_matchers.is_empty() {
            // Without an authority, anybody can make a certificate of any name.
            let judged = context.trusted_ca.is_some();
            if !judged || !has_san(leaf, &context.san_matchers) {
                return Err(mismatch(Mismatch::San));
            }
        }
        if context.hashes.is_empty() && context.spki.is_empty() {
            return Ok(());
        }
        let is = |wanted: &[[u8; 32]], bytes: &[u8]| {
            let hash = digest(&SHA256, bytes);
            wanted.iter().any(|wanted| wanted == hash.as_ref())
        };
        let certificate = X509Certificate::from_der(leaf)
            .map_err(|_| bad_encoding())?
            .1;
        let matches = is(&context.hashes, leaf) || is(&context.spki, certificate.public_key().raw);
        match matches {
            true => Ok(()),
            false => Err(mismatch(Mismatch::Hash)),
        }
    }
}

/// What rustls asks of both kinds of verifiers in the same words.
macro_rules! verifies_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signed, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, intermediates, now, &KeyUsage::client_auth, None)?;
        Ok(ClientCertVerified::assertion())
    }

    verifies_signatures!();
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (usage, name) = (&KeyUsage::server_auth, Some(server_name));
        self.judge(leaf, intermediates, now, usage, name)?;
        Ok(ServerCertVerified::assertion())
    }

    verifies_signatures!();
}

fn mismatch(reason: Mismatch) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

fn bad_encoding() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}

/// The error with the alert that goes with it.
fn of_webpki(error: webpki::Error) -> Error {
    use webpki::Error as Webpki;

    Error::InvalidCertificate(match error {
        Webpki::CertExpired { .. } | Webpki::InvalidCertValidity => CertificateError::Expired,
        Webpki::CertNotValidYet { .. } => CertificateError::NotValidYet,
        Webpki::UnknownIssuer => CertificateError::UnknownIssuer,
        Webpki::CertRevoked => CertificateError::Revoked,
        Webpki::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        Webpki::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Webpki::BadDer | Webpki::BadDerTime => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

/// From when to when a certificate is in date.
fn validity(leaf: &CertificateDer<'_>) -> Option<(UnixTime, UnixTime)> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let validity = leaf.validity();
    let time = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds,
        )))
    };
    time(validity.not_before).zip(time(validity.not_after))
}

fn in_date(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), webpki::Error> {
    let (not_before, not_after) = validity(leaf).ok_or(webpki::Error::BadDer)?;
    if now > not_after {
        return Err(webpki::Error::CertExpired {
            time: now,
            not_after,
        });
    }
    if now < not_before {
        return Err(webpki::Error::CertNotValidYet {
            time: now,
            not_before,
        });
    }
    Ok(())
}

/// Whether a name of the certificate is one that is wanted.
fn has_san(leaf: &CertificateDer<'_>, matchers: &[SanMatcher]) -> bool {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else {
        return false;
    };
    let Ok(Some(sans)) = leaf.subject_alternative_name() else {
        return false;
    };
    let names = &sans.value.general_names;
    let matches = |matcher: &SanMatcher| names.iter().any(|name| matches_san(matcher, name));
    matchers.iter().any(matches)
}

fn matches_san(matcher: &SanMatcher, name: &GeneralName<'_>) -> bool {
    let SanMatcher { kind, matcher } = matcher;
    match (kind, name) {
        (SanKind::Dns, GeneralName::DNSName(name)) => match &matcher.pattern {
            StringPattern::Exact(wanted) => is_dns_name(name, wanted),
            _ => matcher.matches(name),
        },
        (SanKind::Uri, GeneralName::URI(name)) => matcher.matches(name),
        (SanKind::Email, GeneralName::RFC822Name(name)) => matcher.matches(name),
        (SanKind::IpAddress, GeneralName::IPAddress(bytes)) => {
            ip(bytes).is_some_and(|ip| matcher.matches(&ip.to_string()))
        }
        (SanKind::OtherName(oid), GeneralName::OtherName(other, value)) => {
            other.to_id_string() == *oid
                && other_name(value).is_some_and(|text| matcher.matches(text))
        }
        _ => false,
    }
}

/// Whether a name of a certificate, which may begin with `*.` for one label, is `wanted`.
fn is_dns_name(name: &str, wanted: &str) -> bool {
    if name.eq_ignore_ascii_case(wanted) {
        return true;
    }
    let suffix = name.strip_prefix("*.");
    let rest = wanted
        .split_once('.')
        .filter(|(label, _)| !label.is_empty());
    match (suffix, rest) {
        (Some(suffix), Some((_, rest))) => suffix.eq_ignore_ascii_case(rest),
        _ => false,
    }
}

pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The text within an explicit tag.
fn other_name(value: &[u8]) -> Option<&str> {
    let (_, outer) = x509_parser::der_parser::parse_der(value).ok()?;
    let inner = outer.as_slice().ok()?;
    let (_, text) = x509_parser::der_parser::parse_der(inner).ok()?;
    std::str::from_utf8(text.as_slice().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_of_a_certificate_stands_for_one_label() {
        for (name, wanted, is) in [
            ("web.example", "web.example", true),
            ("WEB.example", "web.EXAMPLE", true),
            ("*.example", "web.example", true),
            ("*.example", "a.web.example", false),
            ("*.example", ".example", false),
            ("*.example", "example", false),
            ("*", "web", false),
            ("w*.example", "web.example", false),
            ("web.example", "*.example", false),
        ] {
            assert_eq!(is_dns_name(name, wanted), is, "{name} {wanted}");
        }
    }
}
