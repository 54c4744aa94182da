//! Who a sidecar is where there is no API server to ask: the token is checked by the public key of
//! whoever makes tokens, and says itself whose it is.

use std::{fmt, path::Path};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use weir_api::sidecar::TOKEN_AUDIENCE;
use weir_discovery::xds::{AuthError, Authenticator, Identity, Peer};

use crate::ControlError;

/// The flag that names the key.
pub(crate) const FLAG: &str = "--service-account-key";

/// Checks tokens of service accounts by a public key.
pub(crate) struct SignedTokens {
    key: DecodingKey,
    validation: Validation,
}

/// What the token of a pod's service account says, as Kubernetes has it.
#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Debug, Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

// === impl SignedTokens ===

impl SignedTokens {
    /// Reads the public key: PEM, of P-256, P-384 or RSA.
    pub(crate) fn open(path: &Path) -> Result<Self, ControlError> {
        let wrong =
            |reason: String| ControlError::Config(format!("{FLAG} {}: {reason}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        Self::new(&pem).ok_or_else(|| wrong("no public key in PEM, of P-256 or RSA".to_owned()))
    }

    fn new(pem: &[u8]) -> Option<Self> {
        let (key, algorithm) = match DecodingKey::from_ec_pem(pem) {
            Ok(key) => (key, Algorithm::ES256),
            Err(_) => (DecodingKey::from_rsa_pem(pem).ok()?, Algorithm::RS256),
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[TOKEN_AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        validation.validate_nbf = true;
        Some(Self { key, validation })
    }

    fn identity(&self, token: &str) -> Result<Identity, String> {
        let claims = decode::<Claims>(token, &self.key, &self.validation);
        let claims = claims.map_err(|error| error.to_string())?.claims;
        let Kubernetes {
            namespace,
            serviceaccount,
            pod,
        } = claims.kubernetes;
        Ok(Identity {
            namespace,
            service_account: serviceaccount.name,
            pod: pod.map(|pod| pod.name),
        })
    }
}

#[tonic::async_trait]
impl Authenticator for SignedTokens {
    async fn authenticate(&self, token: &str, _: Peer) -> Result<Identity, AuthError> {
        self.identity(token).map_err(AuthError::Refused)
    }
}

impl fmt::Debug for SignedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use jsonwebtoken::{EncodingKey, Header, encode};
    use rcgen::KeyPair;
    use serde_json::{Value, json};

    use super::*;

    fn token(key: &KeyPair, claims: &Value) -> String {
        let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).expect("a key");
        encode(&Header::new(Algorithm::ES256), claims, &key).expect("a token")
    }

    fn claims(audience: &str, ends_in: i64) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
        let now = i64::try_from(now.as_secs()).expect("a time");
        json!({
            "sub": "system:serviceaccount:shop:web",
            "aud": [audience],
            "exp": now + ends_in,
            "kubernetes.io": {
                "namespace": "shop",
                "serviceaccount": { "name": "web" },
                "pod": { "name": "web-0", "uid": "1" },
            },
        })
    }

    #[test]
    fn a_token_says_whose_it_is_if_the_key_signed_it_for_us_and_it_lives() {
        let (key, other) = (KeyPair::generate(), KeyPair::generate());
        let (key, other) = (key.expect("a key"), other.expect("a key"));
        let tokens = SignedTokens::new(key.public_key_pem().as_bytes()).expect("a key");
        let good = tokens.identity(&token(&key, &claims("weir-ca", 60)));
        let good = good.expect("good");
        assert_eq!(good.to_string(), "shop/web");
        assert_eq!(good.pod.as_deref(), Some("web-0"));
        let mut nobodys = claims("weir-ca", 60);
        nobodys["kubernetes.io"] = Value::Null;
        let unsigned = token(&key, &claims("weir-ca", 60));
        let unsigned = unsigned.rsplit_once('.').expect("three parts").0;
        for (bad, reason) in [
            (token(&other, &claims("weir-ca", 60)), "InvalidSignature"),
            (token(&key, &claims("other", 60)), "InvalidAudience"),
            (token(&key, &claims("weir-ca", -120)), "ExpiredSignature"),
            (token(&key, &nobodys), "null"),
            (format!("{unsigned}."), "InvalidSignature"),
            ("junk".to_owned(), "InvalidToken"),
        ] {
            let error = tokens.identity(&bad).expect_err(reason);
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("key.pem");
        let error = SignedTokens::open(&path).expect_err("absent").to_string();
        assert!(error.contains("key.pem: No such file"), "{error}");
        std::fs::write(&path, "junk").expect("written");
        let error = SignedTokens::open(&path).expect_err("junk").to_string();
        assert!(error.contains("no public key"), "{error}");
    }
}
