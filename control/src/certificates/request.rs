//! What of a certificate signing request counts: the public key, and the proof that whoever asks has
//! the private one. Names in it are compared with who asks, and never taken from it.

use rcgen::SubjectPublicKeyInfo;
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
        OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA, OID_SIG_ED25519,
    },
    prelude::{FromDer, GeneralName, ParsedExtension},
    public_key::PublicKey,
};

/// Longest request, bytes of PEM: one with the largest key and a few names has a tenth of it.
const LONGEST: usize = 16 << 10;
/// RSA keys that are taken, bits: smaller ones can be broken, larger ones cost every handshake.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A request whose proof was checked.
#[derive(Debug)]
pub(crate) struct SigningRequest {
    pub(crate) public_key: SubjectPublicKeyInfo,
    /// Alternative names that it asks for.
    pub(crate) names: Vec<String>,
}

/// What is wrong with a request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the signing request has {0} bytes; at most {LONGEST} are read")]
    Long(usize),
    #[error("the signing request is not one PEM block CERTIFICATE REQUEST")]
    NoPem,
    #[error("the signing request cannot be read: {0}; send one of PKCS #10 (RFC 2986)")]
    Unreadable(String),
    #[error(
        "the key of the signing request is not taken: {0}; make one of P-256, P-384, Ed25519 or \
         RSA of 2048 to 4096 bits"
    )]
    Key(String),
    #[error(
        "the signing request is not signed by its own key; sign it with the key that it is for, \
         by SHA-256 or better"
    )]
    Proof,
}

// === impl SigningRequest ===

impl SigningRequest {
    /// Reads a request and checks its proof.
    pub(crate) fn parse(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > LONGEST {
            return Err(RequestError::Long(pem.len()));
        }
        let mut blocks = CertificateSigningRequestDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(der)), None) = (blocks.next(), blocks.next()) else {
            return Err(RequestError::NoPem);
        };
        let unreadable = |reason: String| RequestError::Unreadable(reason);
        let (rest, request) = X509CertificationRequest::from_der(&der)
            .map_err(|error| unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("something follows it".to_owned()));
        }
        check_key(&request)?;
        check_proof(&request)?;
        let key = &request.certification_request_info.subject_pki;
        let public_key = SubjectPublicKeyInfo::from_der(key.raw)
            .map_err(|error| RequestError::Key(error.to_string()))?;
        Ok(Self {
            public_key,
            names: names(&request)?,
        })
    }
}

fn check_key(request: &X509CertificationRequest<'_>) -> Result<(), RequestError> {
    let refused = |reason: String| Err(RequestError::Key(reason));
    let key = &request.certification_request_info.subject_pki;
    let kind = &key.algorithm.algorithm;
    if *kind == OID_SIG_ED25519 {
        return Ok(());
    }
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref();
        let curve = curve.and_then(|curve| curve.as_oid().ok());
        return match curve {
            Some(curve) if curve == OID_EC_P256 || curve == OID_NIST_EC_P384 => Ok(()),
            Some(curve) => refused(format!("curve {curve}")),
            None => refused("no named curve".to_owned()),
        };
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if *kind == OID_PKCS1_RSAENCRYPTION => {
            let zeros = rsa.modulus.iter().take_while(|byte| **byte == 0).count();
            let bits = (rsa.modulus.len() - zeros) * 8;
            match RSA_BITS.contains(&bits) {
                true => Ok(()),
                false => refused(format!("RSA of {bits} bits")),
            }
        }
        _ => refused(format!("algorithm {kind}")),
    }
}

fn check_proof(request: &X509CertificationRequest<'_>) -> Result<(), RequestError> {
    let by = &request.signature_algorithm.algorithm;
    if *by == OID_PKCS1_SHA1WITHRSA || *by == OID_SHA1_WITH_RSA {
        return Err(RequestError::Proof);
    }
    request.verify_signature().map_err(|_| RequestError::Proof)
}

fn names(request: &X509CertificationRequest<'_>) -> Result<Vec<String>, RequestError> {
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(asked) => {
                names.extend(asked.general_names.iter().map(|name| match name {
                    GeneralName::URI(uri) => (*uri).to_owned(),
                    other => other.to_string(),
                }));
            }
            ParsedExtension::ParseError { error } => {
                return Err(RequestError::Unreadable(error.to_string()));
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
