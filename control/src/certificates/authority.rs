//! The CA: made once, kept in one file, signs serving certificates.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{parse_x509_certificate, prelude::X509Certificate};

use super::{
    CLOCK_SKEW, CertificateError, SERVING_LIFE,
    files::{self, Access},
};

/// Life of the CA. It is not renewed while it serves; a start within its last days makes a new one.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Name of the CA in its certificate.
const NAME: &str = "weir control plane CA";

/// A key that signs, and the certificate that says so.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

// === impl Authority ===

impl Authority {
    /// Loads the CA from the file, or makes one there if there is none or it ends soon.
    pub(super) fn open(path: &Path, now: SystemTime) -> Result<Self, CertificateError> {
        let wrong = |reason| CertificateError::Authority {
            path: path.to_owned(),
            reason,
        };
        if let Some(text) = files::read(path)? {
            let (authority, not_after) = Self::parse(&text).map_err(wrong)?;
            if now + SERVING_LIFE < not_after {
                return Ok(authority);
            }
            tracing::warn!(path = %path.display(), "the CA ends soon, making a new one");
            let text = create(now).map_err(wrong)?;
            files::write(path, &text, Access::Owner)?;
            return Self::parse(&text)
                .map(|(authority, _)| authority)
                .map_err(wrong);
        }
        let text = create(now).map_err(wrong)?;
        let text = match files::write_new(path, &text, Access::Owner)? {
            true => text,
            // Another process was quicker; its CA is the one.
            false => files::read(path)?.unwrap_or_default(),
        };
        Self::parse(&text)
            .map(|(authority, _)| authority)
            .map_err(wrong)
    }

    /// The certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate of this CA for a server of these names, with a new key.
    pub(super) fn issue(
        &self,
        names: &[String],
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<CertifiedKey, String> {
        let mut params = CertificateParams::new(names).map_err(text)?;
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, not_before, not_after);
        let key = KeyPair::generate().map_err(text)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(text)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = any_supported_type(&key).map_err(text)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
    }

    /// Reads key and certificate, and when the latter ends.
    fn parse(pem: &str) -> Result<(Self, SystemTime), String> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
        let key = key.map_err(|error| format!("no private key: {error}"))?;
        let key = KeyPair::try_from(&key).map_err(|error| format!("private key: {error}"))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|error| format!("no certificate: {error}"))?;
        let (_, certificate) =
            parse_x509_certificate(&der).map_err(|error| format!("certificate: {error}"))?;
        if !certificate.is_ca() {
            return Err("the certificate is not a CA's".to_owned());
        }
        if certificate.public_key().subject_public_key.data != key.public_key_raw() {
            return Err("the certificate is not for the private key".to_owned());
        }
        let not_after = not_after(&certificate);
        let begin = pem.find(CERTIFICATE_BEGIN).unwrap_or_default();
        let authority = Self {
            issuer: Issuer::from_ca_cert_der(&der, key).map_err(text)?,
            pem: pem[begin..].to_owned(),
        };
        Ok((authority, not_after))
    }
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

/// Makes a CA: its key and its certificate, in PEM.
fn create(now: SystemTime) -> Result<String, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now - CLOCK_SKEW, now + LIFE);
    let key = KeyPair::generate().map_err(text)?;
    let certificate = params.self_signed(&key).map_err(text)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

fn set_validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
}

fn not_after(certificate: &X509Certificate<'_>) -> SystemTime {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
