//! The private key. It is in memory only, in no message but the one to the data plane, and wiped when
//! it goes.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use zeroize::{Zeroize as _, Zeroizing};

/// A key of P-256.
pub(super) struct Key {
    pair: KeyPair,
    pem: Zeroizing<String>,
}

// === impl Key ===

impl Key {
    /// Makes one.
    pub(super) fn generate() -> Result<Self, String> {
        let pair = KeyPair::generate().map_err(|error| error.to_string())?;
        let pem = Zeroizing::new(pair.serialize_pem());
        Ok(Self { pair, pem })
    }

    /// A certificate signing request, PEM: the public key and proof of this one. It names nobody,
    /// for the issuer knows who asks.
    pub(super) fn request(&self) -> Result<String, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair);
        request
            .and_then(|request| request.pem())
            .map_err(|error| error.to_string())
    }

    /// The public key, as a certificate has it.
    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key_raw()
    }

    /// The private key, PEM.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}
