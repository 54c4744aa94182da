//! Issuers of JSON Web Tokens for tests: keys of every algorithm, their sets, and what they sign.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key that signs tokens by one algorithm.
pub struct Issuer {
    algorithm: &'static str,
    key_id: String,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    /// With its curve.
    Ec(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
    Secret(Box<hmac::Key>, Vec<u8>),
}

// === impl Issuer ===

impl Issuer {
    /// A new key for `algorithm`, which RFC 7518 and RFC 8037 name.
    ///
    /// # Panics
    /// The algorithm is unknown, or no key can be made.
    #[must_use]
    pub fn new(algorithm: &'static str, key_id: &str) -> Self {
        let rsa = |encoding: &'static dyn RsaEncoding| {
            Key::Rsa(
                RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
                encoding,
            )
        };
        let ec =
            |algorithm, curve| Key::Ec(EcdsaKeyPair::generate(algorithm).expect("a key"), curve);
        let secret = |algorithm| {
            let secret =
                format!("the secret of {key_id}, which is long enough for all").into_bytes();
            Key::Secret(Box::new(hmac::Key::new(algorithm, &secret)), secret)
        };
        let key = match algorithm {
            "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_SHA512),
            "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "ES512" => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            "EdDSA" => Key::Ed25519(Ed25519KeyPair::generate().expect("a key")),
            "HS256" => secret(hmac::HMAC_SHA256),
            "HS384" => secret(hmac::HMAC_SHA384),
            "HS512" => secret(hmac::HMAC_SHA512),
            other => panic!("{other}"),
        };
        Self {
            algorithm,
            key_id: key_id.to_owned(),
            key,
        }
    }

    /// The key as it stands in a set.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut key = match &self.key {
            Key::Rsa(pair, _) => {
                let [n, e] = integers(pair.public_key().as_ref());
                json!({ "kty": "RSA", "n": encode(n), "e": encode(e) })
            }
            Key::Ec(pair, curve) => {
                // An uncompressed point.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(length_of(curve));
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Key::Ed25519(pair) => {
                let x = encode(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            Key::Secret(_, secret) => json!({ "kty": "oct", "k": encode(secret) }),
        };
        key["kid"] = self.key_id.as_str().into();
        key["alg"] = self.algorithm.into();
        key
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm, "kid": self.key_id, "typ": "JWT" });
        self.sign(&header, claims)
    }

    /// A token with a header of one's own.
    ///
    /// # Panics
    /// The key signs nothing.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| encode(part.to_string().as_bytes()));
        let signed = parts.join(".");
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    fn signature(&self, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let done = pair.sign(*encoding, &random, signed, &mut signature);
                done.expect("a signature");
                signature
            }
            Key::Ec(pair, _) => {
                let signature = pair.sign(&random, signed).expect("a signature");
                signature.as_ref().to_vec()
            }
            Key::Ed25519(pair) => pair.sign(signed).as_ref().to_vec(),
            Key::Secret(key, _) => hmac::sign(key, signed).as_ref().to_vec(),
        }
    }
}

/// The keys of issuers as a set.
#[must_use]
pub fn key_set(issuers: &[&Issuer]) -> String {
    let keys: Vec<_> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn length_of(curve: &str) -> usize {
    match curve {
        "P-256" => 32,
        "P-384" => 48,
        _ => 66,
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, appendix A.1.1) of 2048 bits.
fn integers(der: &[u8]) -> [&[u8]; 2] {
    // SEQUENCE and INTEGER have lengths of two bytes, and the modulus begins with a zero.
    let (modulus, exponent) = der[8..].split_at(257);
    [&modulus[1..], &exponent[2..]]
}
