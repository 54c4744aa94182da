//! The private key of a CA, wiped from memory when it goes.

use rcgen::{Error, KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use zeroize::{Zeroize as _, Zeroizing};

/// A key that signs certificates.
pub(super) struct Key(KeyPair);

// === impl Key ===

impl Key {
    /// Makes one, of P-256.
    pub(super) fn generate() -> Result<Self, String> {
        KeyPair::generate()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Reads the first one of a text.
    pub(super) fn parse(pem: &str) -> Result<Self, String> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes());
        let mut der = der.map_err(|error| format!("no private key: {error}"))?;
        let key = KeyPair::try_from(&der).map_err(|error| format!("private key: {error}"));
        der.zeroize();
        key.map(Self)
    }

    /// PEM.
    pub(super) fn pem(&self) -> Zeroizing<String> {
        self.0.serialize_pem().into()
    }

    /// The public key, as a certificate has it.
    pub(super) fn public(&self) -> &[u8] {
        self.0.public_key_raw()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
