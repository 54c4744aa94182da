//! One key of a set.

use std::sync::OnceLock;

use aws_lc_rs::{
    hmac,
    signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents},
};
use serde_json::{Map, Value};

use super::{Status, Token, decode};

/// Length of a signature by Ed25519.
const ED25519_SIGNATURE: usize = 64;

/// A key that may have signed a token.
#[derive(Debug)]
pub(super) struct Key {
    /// `kid`; empty: it may be any.
    pub(super) id: String,
    /// `alg`; empty: any that the kind of key allows.
    pub(super) algorithm: String,
    kind: Kind,
}

enum Kind {
    Rsa(Box<RsaKey>),
    /// With the one algorithm of its curve.
    Ec(&'static str, Box<ParsedPublicKey>),
    Ed25519(Box<ParsedPublicKey>),
    /// The secret, for the three algorithms.
    Secret(Box<[hmac::Key; 3]>),
}

/// An RSA key serves six algorithms. It is made ready for one when a token asks for that.
struct RsaKey {
    source: RsaSource,
    parsed: [OnceLock<Option<ParsedPublicKey>>; 6],
}

enum RsaSource {
    Components(RsaPublicKeyComponents<Vec<u8>>),
    /// `SubjectPublicKeyInfo` of a certificate.
    Info(Vec<u8>),
}

/// Of at least 2048 bits, as RFC 7518 wants (sections 3.3 and 3.5).
static RSA: [(&str, &RsaParameters); 6] = [
    ("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
    ("RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
    ("RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
    ("PS256", &signature::RSA_PSS_2048_8192_SHA256),
    ("PS384", &signature::RSA_PSS_2048_8192_SHA384),
    ("PS512", &signature::RSA_PSS_2048_8192_SHA512),
];

/// The algorithms of secrets, in the order of [`Kind::Secret`].
const HMAC: [&str; 3] = ["HS256", "HS384", "HS512"];

/// A curve, its algorithm, and the bytes of a coordinate.
struct Curve {
    name: &'static str,
    algorithm: &'static str,
    length: usize,
    verification: &'static signature::EcdsaVerificationAlgorithm,
}

static CURVES: [Curve; 3] = [
    Curve {
        name: "P-256",
        algorithm: "ES256",
        length: 32,
        verification: &signature::ECDSA_P256_SHA256_FIXED,
    },
    Curve {
        name: "P-384",
        algorithm: "ES384",
        length: 48,
        verification: &signature::ECDSA_P384_SHA384_FIXED,
    },
    Curve {
        name: "P-521",
        algorithm: "ES512",
        length: 66,
        verification: &signature::ECDSA_P521_SHA512_FIXED,
    },
];

// === impl Key ===

impl Key {
    /// A key of a set; none if it is none, or of a kind that signs no tokens.
    pub(super) fn read(fields: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let algorithm = text("alg").unwrap_or_default();
        let kind = match text("kty")? {
            "RSA" => rsa(algorithm, text("n")?, text("e")?)?,
            "EC" => {
                let curve = curve(algorithm, text("crv").unwrap_or_default())?;
                ec(curve, text("x")?, text("y")?)?
            }
            "OKP" if text("crv") == Some("Ed25519") => ed25519(algorithm, text("x")?)?,
            "oct" => secret(algorithm, text("k")?)?,
            _ => return None,
        };
        Some(Self {
            id: text("kid").unwrap_or_default().to_owned(),
            algorithm: algorithm.to_owned(),
            kind,
        })
    }

    /// The RSA key of a certificate.
    pub(super) fn of_certificate(id: &str, pem: &str) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let source = RsaSource::Info(certificate.public_key().raw.to_vec());
        let key = RsaKey::new(source);
        key.for_algorithm("RS256")?;
        Some(Self {
            id: id.to_owned(),
            algorithm: String::new(),
            kind: Kind::Rsa(Box::new(key)),
        })
    }

    /// Whether it may have signed the token at all, by what both say of themselves.
    pub(super) fn concerns(&self, token: &Token) -> bool {
        let same_id = token.key_id.is_empty() || self.id.is_empty() || self.id == token.key_id;
        same_id && (self.algorithm.is_empty() || self.algorithm == token.algorithm)
    }

    /// Whether it has signed the token.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn verify(&self, token: &Token) -> Result<(), Status> {
        let signed = |key: &ParsedPublicKey| {
            let verified = key.verify_sig(token.signed(), &token.signature);
            verified.map_err(|_| Status::VerificationFails)
        };
        match &self.kind {
            Kind::Rsa(key) => match key.for_algorithm(token.algorithm) {
                Some(key) => signed(key),
                None => Err(Status::VerificationFails),
            },
            Kind::Ec(algorithm, key) if *algorithm == token.algorithm => signed(key),
            Kind::Ed25519(_) if token.signature.len() != ED25519_SIGNATURE => {
                Err(Status::Ed25519SignatureWrongLength)
            }
            Kind::Ed25519(key) if token.algorithm == "EdDSA" => signed(key),
            Kind::Secret(keys) => {
                let index = HMAC.iter().position(|known| *known == token.algorithm);
                let key = index.and_then(|index| keys.get(index));
                let key = key.ok_or(Status::VerificationFails)?;
                let verified = hmac::verify(key, token.signed(), &token.signature);
                verified.map_err(|_| Status::VerificationFails)
            }
            Kind::Ec(..) | Kind::Ed25519(_) => Err(Status::VerificationFails),
        }
    }
}

fn rsa(algorithm: &str, n: &str, e: &str) -> Option<Kind> {
    let is_one = algorithm.is_empty() || ["RS", "PS"].iter().any(|of| algorithm.starts_with(of));
    let number = |text: &str| {
        let bytes = decode(text)?;
        let leading = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[leading..].to_vec())
    };
    let (n, e) = (number(n)?, number(e)?);
    // Other exponents are no standard ones, and may take long.
    let is_usual = matches!(e[..], [3] | [1, 0, 1]);
    if !is_one || !is_usual {
        return None;
    }
    let key = RsaKey::new(RsaSource::Components(RsaPublicKeyComponents { n, e }));
    key.for_algorithm("RS256")?;
    Some(Kind::Rsa(Box::new(key)))
}

/// The curve by its name or its algorithm; P-256 if neither is known.
fn curve(algorithm: &str, name: &str) -> Option<&'static Curve> {
    if algorithm.is_empty() && name.is_empty() {
        return CURVES.first();
    }
    CURVES.iter().find(|curve| {
        (algorithm.is_empty() || algorithm == curve.algorithm)
            && (name.is_empty() || name == curve.name)
    })
}

fn ec(curve: &'static Curve, x: &str, y: &str) -> Option<Kind> {
    // An uncompressed point: SEC 1, section 2.3.3.
    let mut point = vec![4];
    for coordinate in [decode(x)?, decode(y)?] {
        let leading = coordinate.iter().take_while(|byte| **byte == 0).count();
        let digits = &coordinate[leading..];
        let padding = curve.length.checked_sub(digits.len())?;
        point.resize(point.len() + padding, 0);
        point.extend_from_slice(digits);
    }
    let key = ParsedPublicKey::new(curve.verification, point).ok()?;
    Some(Kind::Ec(curve.algorithm, Box::new(key)))
}

fn ed25519(algorithm: &str, x: &str) -> Option<Kind> {
    if !matches!(algorithm, "" | "EdDSA") {
        return None;
    }
    let key = ParsedPublicKey::new(&signature::ED25519, decode(x)?).ok()?;
    Some(Kind::Ed25519(Box::new(key)))
}

fn secret(algorithm: &str, k: &str) -> Option<Kind> {
    let secret = decode(k).filter(|secret| !secret.is_empty())?;
    if !algorithm.is_empty() && !HMAC.contains(&algorithm) {
        return None;
    }
    let algorithms = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512];
    let keys = algorithms.map(|of| hmac::Key::new(of, &secret));
    Some(Kind::Secret(Box::new(keys)))
}

// === impl RsaKey ===

impl RsaKey {
    fn new(source: RsaSource) -> Self {
        Self {
            source,
            parsed: Default::default(),
        }
    }

    fn for_algorithm(&self, algorithm: &str) -> Option<&ParsedPublicKey> {
        let index = RSA.iter().position(|(known, _)| *known == algorithm)?;
        let (parsed, (_, parameters)) = (self.parsed.get(index)?, RSA.get(index)?);
        let parse = || match &self.source {
            RsaSource::Components(components) => components.to_parsed_public_key(parameters).ok(),
            RsaSource::Info(info) => ParsedPublicKey::new(*parameters, info).ok(),
        };
        parsed.get_or_init(parse).as_ref()
    }
}

// === impl Kind ===

/// A secret says nothing of itself.
impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa(_) => "RSA",
            Self::Ec(algorithm, _) => algorithm,
            Self::Ed25519(_) => "Ed25519",
            Self::Secret(_) => "oct",
        })
    }
}
