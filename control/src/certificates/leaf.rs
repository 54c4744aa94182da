//! A serving certificate and its key, as text and in use.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{
    parse_x509_certificate,
    prelude::{GeneralName, X509Certificate},
};
use zeroize::Zeroizing;

use super::{Authority, CLOCK_SKEW, Issued, verify::verify};

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// When it was made: its validity begins a little before.
    pub(crate) made: SystemTime,
    /// When it ends.
    pub(crate) not_after: SystemTime,
}

/// A serving certificate, what it is for, and its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) pem: String,
    pub(crate) key_pem: Zeroizing<String>,
    /// Host names and addresses it is valid for.
    pub(crate) names: BTreeSet<String>,
    pub(crate) life: Life,
    certified: Arc<CertifiedKey>,
}

// === impl Life ===

impl Life {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        let at = |seconds: i64| {
            UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
        };
        let not_after = at(validity.not_after.timestamp());
        Self {
            made: (at(validity.not_before.timestamp()) + CLOCK_SKEW).min(not_after),
            not_after,
        }
    }

    /// When half of it is over.
    pub(crate) fn half(&self) -> SystemTime {
        self.made + self.not_after.duration_since(self.made).unwrap_or_default() / 2
    }
}

// === impl Leaf ===

impl Leaf {
    /// Reads a chain of certificates, the server's first, and the key of that one.
    pub(crate) fn parse(key_pem: &str, pem: &str) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|error| format!("certificate: {error}"))?;
        let first = chain.first().ok_or("no certificate")?;
        let (_, certificate) =
            parse_x509_certificate(first).map_err(|error| format!("certificate: {error}"))?;
        let (names, life) = (names(&certificate), Life::of(&certificate));
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes());
        let key = key.map_err(|error| format!("no private key: {error}"))?;
        let signer = any_supported_type(&key).map_err(|error| format!("private key: {error}"))?;
        let certified = CertifiedKey::new(chain, signer);
        certified
            .keys_match()
            .map_err(|error| format!("certificate and private key: {error}"))?;
        Ok(Self {
            pem: pem.to_owned(),
            key_pem: key_pem.to_owned().into(),
            names,
            life,
            certified: Arc::new(certified),
        })
    }

    /// It, to be served.
    pub(crate) fn issued(&self) -> Issued {
        Issued {
            certified: self.certified.clone(),
            not_after: self.life.not_after,
        }
    }

    /// It, if this CA signed it.
    pub(crate) fn signed_by(self, authority: &Authority) -> Result<Self, String> {
        let name = self.names.first().map(String::as_str).unwrap_or_default();
        verify(&self.certified.cert, authority.pem(), name, self.life.made).map(|()| self)
    }

    /// Whether it is valid for all of these names.
    pub(crate) fn is_for(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf")
            .field("names", &self.names)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

fn names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return BTreeSet::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let address = match bytes.len() {
                    4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                    _ => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
                };
                Some(address.to_string())
            }
            _ => None,
        })
        .collect()
}
