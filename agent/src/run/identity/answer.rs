//! Whether what an issuer answered is a certificate for our key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::{
    parse_x509_certificate,
    pem::Pem,
    prelude::{GeneralName, X509Certificate},
};

use super::key::Key;

/// A certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The identity that it names.
    pub(super) id: String,
    /// It, and those of the authorities between it and a root, PEM.
    pub(super) certificates: String,
    pub(super) not_after: SystemTime,
}

// === impl Answer ===

impl Answer {
    /// Checks the chain that an issuer answered with: the certificate first, what is to be trusted
    /// last.
    pub(super) fn check(chain: &[String], key: &Key, now: SystemTime) -> Result<Self, String> {
        let [certificates @ .., _] = chain else {
            return Err("it is empty".to_owned());
        };
        let leaf = certificates
            .first()
            .ok_or("it is one certificate; a certificate and its root are needed")?;
        let leaf = first_block(leaf)?;
        let (_, leaf) = parse_x509_certificate(&leaf.contents)
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        if leaf.public_key().subject_public_key.data != key.public() {
            return Err("the certificate is for another key".to_owned());
        }
        let ends = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default();
        let not_after = UNIX_EPOCH + Duration::from_secs(ends);
        if not_after <= now {
            let ended = leaf.validity().not_after;
            return Err(format!(
                "the certificate ended {ended}; is the clock of this node right?"
            ));
        }
        let certificates: Vec<_> = certificates.iter().map(|it| it.trim_end()).collect();
        Ok(Self {
            id: identity(&leaf)?,
            certificates: certificates.join("\n") + "\n",
            not_after,
        })
    }
}

fn first_block(pem: &str) -> Result<Pem, String> {
    let mut blocks = Pem::iter_from_buffer(pem.as_bytes());
    match blocks.next() {
        Some(Ok(block)) if block.label == "CERTIFICATE" => Ok(block),
        _ => Err("the certificate is no PEM".to_owned()),
    }
}

/// The one URI of the certificate (SPIFFE X.509-SVID, section 2).
fn identity(leaf: &X509Certificate<'_>) -> Result<String, String> {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let mut uris = names.filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(id), None) if id.starts_with("spiffe://") => Ok(id.to_owned()),
        (Some(other), None) => Err(format!("the certificate names {other:?}, no SPIFFE ID")),
        (None, _) => Err("the certificate names no SPIFFE ID".to_owned()),
        (Some(_), Some(_)) => Err("the certificate names two identities".to_owned()),
    }
}
