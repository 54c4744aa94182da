//! Tokens of service accounts, as the API server makes them for the kubelet.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;

/// Life of a token: longer than a playground is up, for nobody renews it.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Who makes tokens, and whom one is for where nobody else is named.
const API_SERVER: &str = "https://kubernetes.default.svc.cluster.local";

/// Makes tokens.
pub struct Tokens {
    key: EncodingKey,
    public_key: String,
}

/// Whose token it is.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'a> {
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Its service account.
    pub service_account: &'a str,
    /// Its name.
    pub pod: &'a str,
}

// === impl Tokens ===

impl Tokens {
    /// With a new key. `None` where the machine has no randomness.
    pub(super) fn new() -> Option<Self> {
        let key = KeyPair::generate().ok()?;
        Some(Self {
            public_key: key.public_key_pem(),
            key: EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).ok()?,
        })
    }

    /// By which tokens are checked, PEM.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// A token for this audience, or for the API server.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn token(&self, of: Bearer<'_>, audience: Option<&str>) -> Result<String, String> {
        let Bearer {
            namespace,
            service_account,
            pod,
        } = of;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let claims = json!({
            "iss": API_SERVER,
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
            "aud": [audience.unwrap_or(API_SERVER)],
            "iat": now.as_secs(),
            "exp": (now + LIFE).as_secs(),
            "kubernetes.io": {
                "namespace": namespace,
                "pod": { "name": pod },
                "serviceaccount": { "name": service_account },
            },
        });
        let token = encode(&Header::new(Algorithm::ES256), &claims, &self.key);
        token.map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}
