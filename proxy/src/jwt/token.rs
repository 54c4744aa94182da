//! A token, taken apart but not yet checked.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Status, decode};

/// Bytes of a token. Real ones have a few KiB; with this bound, reading one takes well under a
/// millisecond of the worker.
const MAX_TOKEN: usize = 256 * 1024;

/// The algorithms that a token may be signed with, as Envoy knows them.
const ALGORITHMS: [&str; 13] = [
    "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
    "PS384", "PS512", "EdDSA",
];

/// A token, taken apart. That it is read says nothing of who made it.
#[derive(Debug)]
pub struct Token {
    /// Header and payload as they came, which is what is signed, and where the payload begins.
    signed: Box<str>,
    payload_at: usize,
    pub(super) algorithm: &'static str,
    pub(super) key_id: String,
    pub(super) signature: Vec<u8>,
    /// The header's fields.
    pub header: Map<String, Value>,
    /// The claims.
    pub payload: Map<String, Value>,
    /// `iss`; empty if there is none.
    pub issuer: String,
    /// `sub`; empty if there is none.
    pub subject: String,
    /// `aud`, which may be text or a list.
    pub audiences: Vec<String>,
    /// `nbf`, seconds since 1970; 0 if there is none.
    not_before: u64,
    /// `exp`, seconds since 1970; 0 if there is none.
    pub expires: u64,
}

/// What a claim that must be a number may be instead.
struct BadNumber {
    kind: Status,
    range: Status,
}

// === impl Token ===

impl Token {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is none, in the words of Envoy.
    pub fn parse(text: &str) -> Result<Self, Status> {
        if text.len() > MAX_TOKEN {
            return Err(Status::TooLarge);
        }
        let mut sections = text.split('.');
        let sections = [
            sections.next(),
            sections.next(),
            sections.next(),
            sections.next(),
        ];
        let [Some(head), Some(body), Some(signature), None] = sections else {
            return Err(Status::BadFormat);
        };
        if head.is_empty() || body.is_empty() || signature.is_empty() {
            return Err(Status::BadFormat);
        }
        let decoded = decode(head).ok_or(Status::HeaderBadBase64)?;
        let header: Map<String, Value> =
            serde_json::from_slice(&decoded).map_err(|_| Status::HeaderBadJson)?;
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.ok_or(Status::HeaderBadAlg)?;
        let mut known = ALGORITHMS.into_iter();
        let algorithm = known.find(|known| *known == algorithm);
        let algorithm = algorithm.ok_or(Status::HeaderUnknownAlg)?;
        let key_id = text_of(&header, "kid", Status::HeaderBadKid)?;
        let decoded = decode(body).ok_or(Status::PayloadBadBase64)?;
        let payload: Map<String, Value> =
            serde_json::from_slice(&decoded).map_err(|_| Status::PayloadBadJson)?;
        let claims = Claims::read(&payload)?;
        Ok(Self {
            signed: text[..head.len() + 1 + body.len()].into(),
            payload_at: head.len() + 1,
            algorithm,
            key_id,
            signature: decode(signature).ok_or(Status::SignatureBadBase64)?,
            header,
            issuer: claims.issuer,
            subject: claims.subject,
            audiences: claims.audiences,
            not_before: claims.not_before,
            expires: claims.expires,
            payload,
        })
    }

    /// What is signed.
    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    /// The payload as it came, in base64url.
    #[must_use]
    pub fn encoded_payload(&self) -> &str {
        self.signed.get(self.payload_at..).unwrap_or_default()
    }

    /// Whether it is valid at this time, since 1970, give or take `skew`.
    ///
    /// # Errors
    /// Not yet, or no longer.
    pub fn check_time(&self, now: Duration, skew: Duration) -> Result<(), Status> {
        let (now, skew) = (now.as_secs(), skew.as_secs());
        if now.saturating_add(skew) < self.not_before {
            return Err(Status::NotYetValid);
        }
        if self.expires > 0 && now > self.expires.saturating_add(skew) {
            return Err(Status::Expired);
        }
        Ok(())
    }
}

/// The claims that have a meaning here.
struct Claims {
    issuer: String,
    subject: String,
    audiences: Vec<String>,
    not_before: u64,
    expires: u64,
}

// === impl Claims ===

impl Claims {
    fn read(payload: &Map<String, Value>) -> Result<Self, Status> {
        let issuer = text_of(payload, "iss", Status::IssNotString)?;
        let subject = text_of(payload, "sub", Status::SubNotString)?;
        number_of(
            payload,
            "iat",
            &BadNumber {
                kind: Status::IatNotInteger,
                range: Status::IatOutOfRange,
            },
        )?;
        let not_before = BadNumber {
            kind: Status::NbfNotInteger,
            range: Status::NbfOutOfRange,
        };
        let expires = BadNumber {
            kind: Status::ExpNotInteger,
            range: Status::ExpOutOfRange,
        };
        let not_before = number_of(payload, "nbf", &not_before)?;
        let expires = number_of(payload, "exp", &expires)?;
        text_of(payload, "jti", Status::JtiNotString)?;
        Ok(Self {
            issuer,
            subject,
            audiences: texts_of(payload, "aud", Status::AudNotString)?,
            not_before,
            expires,
        })
    }
}

fn text_of(of: &Map<String, Value>, name: &str, wrong: Status) -> Result<String, Status> {
    match of.get(name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong),
    }
}

fn texts_of(of: &Map<String, Value>, name: &str, wrong: Status) -> Result<Vec<String>, Status> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match of.get(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(values)) => values.iter().map(text).collect::<Option<_>>().ok_or(wrong),
        Some(_) => Err(wrong),
    }
}

/// A number of seconds, which may have a fraction.
fn number_of(of: &Map<String, Value>, name: &str, wrong: &BadNumber) -> Result<u64, Status> {
    let Some(value) = of.get(name) else {
        return Ok(0);
    };
    let number = value.as_f64().filter(|_| value.is_number());
    match number {
        None => Err(wrong.kind),
        // As Envoy, which holds numbers as doubles.
        Some(number) if (0.0..18_446_744_073_709_551_615.0).contains(&number) => Ok(number as u64),
        Some(_) => Err(wrong.range),
    }
}
