//! A set of keys.

use serde_json::{Map, Value};

use super::{Status, Token, key::Key};

/// Bytes of a key set. Issuers publish a few keys of some hundred bytes.
pub const MAX_KEY_SET: usize = 1024 * 1024;

/// What certificates in place of keys begin with.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n";

/// A JSON Web Key Set, or an object of certificates by key id, which Envoy takes as well.
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

// === impl KeySet ===

impl KeySet {
    /// Reads the keys that can be used; others are passed over, as in Envoy.
    ///
    /// # Errors
    /// There is none that can be used; or what is wrong with the whole, in words.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.len() > MAX_KEY_SET {
            return Err("Jwks is too large");
        }
        let set: Map<String, Value> =
            serde_json::from_slice(text).map_err(|_| "Jwks is an invalid JSON")?;
        let keys: Vec<Key> = match set.get("keys") {
            Some(Value::Array(keys)) => {
                let objects = keys.iter().filter_map(Value::as_object);
                objects.filter_map(Key::read).collect()
            }
            Some(_) => return Err("[keys] in Jwks is not an array"),
            None => certificates(&set).ok_or("Jwks does not have [keys] field")?,
        };
        match keys.is_empty() {
            true => Err(Status::NoValidKeys.text()),
            false => Ok(Self(keys)),
        }
    }

    /// Whether one of the keys has signed the token. Its time is not looked at.
    ///
    /// # Errors
    /// None has, or none may have.
    pub fn verify(&self, token: &Token) -> Result<(), Status> {
        let mut status = Status::KidAlgMismatch;
        for key in self.0.iter().filter(|key| key.concerns(token)) {
            match key.verify(token) {
                Err(Status::VerificationFails) => status = Status::VerificationFails,
                decided => return decided,
            }
        }
        Err(status)
    }
}

fn certificates(set: &Map<String, Value>) -> Option<Vec<Key>> {
    let are_all = !set.is_empty()
        && set.values().all(|value| {
            let text = value.as_str();
            text.is_some_and(|text| text.starts_with(CERTIFICATE))
        });
    let key = |(id, pem): (&String, &Value)| Key::of_certificate(id, pem.as_str()?);
    are_all.then(|| set.iter().filter_map(key).collect())
}
