//! The CA: made once, kept in one file, signs certificates of servers and workloads.

mod key;

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use key::Key;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use weir_api::spiffe::SpiffeId;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use super::{
    CLOCK_SKEW, CertificateError, Leaf, Life, SERVING_LIFE,
    files::{self, Access},
    stored::blocks,
    verify,
};

/// Life of the CA. It is not renewed while it serves; a start within its last days makes a new one.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Name of the CA in its certificate.
const NAME: &str = "weir control plane CA";

/// A key that signs, and the certificate that says so.
pub(crate) struct Authority {
    issuer: Issuer<'static, Key>,
    key_pem: Zeroizing<String>,
    /// Its certificate, and those of the authorities between it and a root.
    pem: String,
    roots: String,
    life: Life,
}

// === impl Authority ===

impl Authority {
    /// Loads the CA from the file, or makes one there if there is none or it ends soon.
    pub(super) fn open(path: &Path, now: SystemTime) -> Result<Self, CertificateError> {
        let wrong = |reason| CertificateError::Authority {
            path: path.to_owned(),
            reason,
        };
        if let Some(text) = files::read(path)?.map(Zeroizing::new) {
            let authority = Self::parse(&text, &text).map_err(wrong)?;
            if now + SERVING_LIFE < authority.life.not_after {
                return Ok(authority);
            }
            tracing::warn!(path = %path.display(), "the CA ends soon, making a new one");
            let authority = Self::create(now, LIFE).map_err(wrong)?;
            files::write(path, &authority.both(), Access::Owner)?;
            return Ok(authority);
        }
        let authority = Self::create(now, LIFE).map_err(wrong)?;
        if files::write_new(path, &authority.both(), Access::Owner)? {
            return Ok(authority);
        }
        // Another process was quicker; its CA is the one.
        let text = Zeroizing::new(files::read(path)?.unwrap_or_default());
        Self::parse(&text, &text).map_err(wrong)
    }

    /// Makes a CA that lives this long.
    pub(crate) fn create(now: SystemTime, life: Duration) -> Result<Self, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now - CLOCK_SKEW, now + life);
        let key = Key::generate()?;
        let certificate = params.self_signed(&key).map_err(text)?;
        Self::parse(&key.pem(), &certificate.pem())
    }

    /// The certificate, and those of the authorities between it and a root.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The root certificates by which clients trust it: its own, if it is one itself.
    pub(crate) fn roots(&self) -> &str {
        &self.roots
    }

    /// What a server or a workload presents beside its own certificate: what is between it and the
    /// roots.
    pub(crate) fn above(&self) -> Vec<String> {
        let roots: Vec<_> = blocks(&self.roots).collect();
        let all = blocks(&self.pem);
        all.filter(|block| !roots.contains(block)).collect()
    }

    /// The key.
    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// From when to when it is valid.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// Whether they are one and the same, with the same roots.
    pub(crate) fn is(&self, other: &Self) -> bool {
        blocks(&self.pem).eq(blocks(&other.pem)) && blocks(&self.roots).eq(blocks(&other.roots))
    }

    fn both(&self) -> Zeroizing<String> {
        format!("{}{}", self.key_pem.as_str(), self.pem).into()
    }

    /// A certificate of this CA for a server of these names, with a new key.
    pub(crate) fn issue(
        &self,
        names: &[String],
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<Leaf, String> {
        let mut params = CertificateParams::new(names).map_err(text)?;
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, not_before, not_after);
        let key = Key::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(text)?;
        let chain = certificate.pem() + &self.above().concat();
        Leaf::parse(&key.pem(), &chain)
    }

    /// A certificate of this CA for a workload's key: an X.509-SVID (SPIFFE X.509-SVID, section 4),
    /// with the workload's identity as its only name and without a subject. PEM.
    pub(crate) fn issue_workload(
        &self,
        key: &impl PublicKeyData,
        id: &SpiffeId,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<String, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().map_err(text)?)];
        params.serial_number = Some(serial_number()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, not_before, not_after);
        let certificate = params.signed_by(key, &self.issuer).map_err(text)?;
        Ok(certificate.pem())
    }

    /// Reads a CA that somebody gives, with those between it and the roots, and sees whether what it
    /// signs is trusted by these.
    pub(crate) fn given(key_pem: &str, pem: &str, roots: &str) -> Result<Self, String> {
        let mut authority =
            Self::parse(key_pem, pem).map_err(|reason| format!("tls.crt: {reason}"))?;
        authority.roots = blocks(roots).collect();
        let now = SystemTime::now();
        if authority.life.not_after <= now {
            return Err("tls.crt: the CA has ended".to_owned());
        }
        let name = "ca.example".to_owned();
        let leaf = authority.issue(
            std::slice::from_ref(&name),
            now - CLOCK_SKEW,
            authority.life.not_after,
        )?;
        let chain = &leaf.issued().certified.cert;
        verify::verify(chain, &authority.roots, &name, now)
            .map_err(|reason| format!("ca.crt does not accept what tls.crt signs: {reason}"))?;
        Ok(authority)
    }

    /// The same, as it was kept.
    pub(crate) fn with_roots(self, roots: &str) -> Self {
        Self {
            roots: blocks(roots).collect(),
            ..self
        }
    }

    /// Reads key and certificate, each from the first block of its kind in a text.
    pub(crate) fn parse(key_pem: &str, pem: &str) -> Result<Self, String> {
        let key_text = private_key(key_pem);
        let key = Key::parse(key_pem)?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|error| format!("no certificate: {error}"))?;
        let (_, certificate) =
            parse_x509_certificate(&der).map_err(|error| format!("certificate: {error}"))?;
        if !certificate.is_ca() {
            return Err("the certificate is not a CA's".to_owned());
        }
        if certificate.public_key().subject_public_key.data != key.public() {
            return Err("the certificate is not for the private key".to_owned());
        }
        let life = Life::of(&certificate);
        let begin = pem.find(CERTIFICATE_BEGIN).unwrap_or_default();
        Ok(Self {
            key_pem: key_text,
            issuer: Issuer::from_ca_cert_der(&der, key).map_err(text)?,
            roots: blocks(&pem[begin..]).take(1).collect(),
            pem: pem[begin..].to_owned(),
            life,
        })
    }
}

/// The private key in a text, in whichever of its forms, with a line break at its end.
fn private_key(text: &str) -> Zeroizing<String> {
    const MARK: &str = "PRIVATE KEY-----";
    let mut marks = text.match_indices(MARK).map(|(at, _)| at);
    let (first, last) = (marks.next().unwrap_or_default(), marks.next());
    let begin = text[..first].rfind("-----BEGIN ").unwrap_or_default();
    let end = last.map_or(text.len(), |at| at + MARK.len());
    format!("{}\n", text[begin..end].trim_end()).into()
}

/// First line of a certificate in PEM.
const CERTIFICATE_BEGIN: &str = "-----BEGIN CERTIFICATE-----";

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("pem", &self.pem)
            .finish_non_exhaustive()
    }
}

/// A serial number of its own for each certificate, also of one key (RFC 5280, section 4.1.2.2).
fn serial_number() -> Result<SerialNumber, String> {
    let mut bytes = [0; 16];
    let random = aws_lc_rs::default_provider().secure_random;
    random
        .fill(&mut bytes)
        .map_err(|error| format!("{error:?}"))?;
    // Neither negative nor with leading zeros.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn set_validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
