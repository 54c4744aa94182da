//! Whether clients that trust a bundle accept what is served.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use x509_parser::parse_x509_certificate;

use super::Life;

/// The certificates of a bundle.
pub(crate) fn roots(bundle: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("no certificate".to_owned());
    }
    Ok(roots)
}

/// When the first certificate of a bundle ends.
pub(crate) fn ends(bundle: &str) -> Option<SystemTime> {
    let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes()).flatten();
    let ends = certificates.filter_map(|certificate| {
        let (_, certificate) = parse_x509_certificate(&certificate).ok()?;
        Some(Life::of(&certificate).not_after)
    });
    ends.min()
}

/// Verifies a chain as a client would that trusts the bundle and dials this name.
///
/// # Errors
/// What the client would say.
pub(crate) fn verify(
    chain: &[CertificateDer<'static>],
    bundle: &str,
    name: &str,
    now: SystemTime,
) -> Result<(), String> {
    let (leaf, intermediates) = chain.split_first().ok_or("no certificate is served")?;
    let name = ServerName::try_from(name).map_err(|error| format!("{name}: {error}"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(bundle)?), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
    let now = UnixTime::since_unix_epoch(since_epoch.unwrap_or_default());
    verifier
        .verify_server_cert(leaf, intermediates, &name, &[], now)
        .map(|_| ())
        .map_err(|error| error.to_string())
}
