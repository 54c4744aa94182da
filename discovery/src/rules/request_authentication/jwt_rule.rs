//! Who issues tokens, as rules say it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    model::{Interner, TokenIssuer, TokenKeys},
    rules::{Findings, istio::Span},
};

/// Bytes of a key set that sidecars take.
const MAX_KEY_SET: usize = 1024 * 1024;

/// Who issues tokens.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwtRule {
    /// `iss` of the tokens.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Option<Vec<String>>,
    /// Where the keys are.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: Option<String>,
    /// The keys.
    pub jwks: Option<String>,
    /// Headers that have tokens.
    pub from_headers: Option<Vec<JwtHeader>>,
    /// Query parameters that have them.
    pub from_params: Option<Vec<String>>,
    /// Cookies that have them.
    pub from_cookies: Option<Vec<String>>,
    /// The header that tells the application the payload.
    pub output_payload_to_header: Option<String>,
    /// Headers that tell it claims.
    pub output_claim_to_headers: Option<Vec<ClaimToHeader>>,
    /// The token is sent on.
    pub forward_original_token: bool,
    /// How long the keys may take to come.
    pub timeout: Option<Timeout>,
    /// Claims that are lists of words.
    pub space_delimited_claims: Option<Vec<String>>,
}

/// A header that has tokens.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtHeader {
    /// Its name.
    pub name: String,
    /// What stands before the token.
    pub prefix: String,
}

/// A header that tells a claim.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimToHeader {
    /// Its name.
    pub header: String,
    /// The claim; dots lead into objects.
    pub claim: String,
}

/// How long the keys may take to come.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Timeout(Span);

/// Reads one rule.
struct Reader<'a> {
    at: &'a str,
    names: &'a Interner,
    findings: &'a mut Findings,
}

// === impl JwtRule ===

impl JwtRule {
    /// The issuer of the model; none if it has no name. What is wrong with it otherwise is left out, so
    /// that fewer tokens are believed.
    pub(super) fn issuer(
        &self,
        at: &str,
        names: &Interner,
        findings: &mut Findings,
    ) -> Option<TokenIssuer> {
        let mut reader = Reader {
            at,
            names,
            findings,
        };
        if self.issuer.is_empty() {
            reader.malformed(
                "issuer",
                "is empty, and its tokens have to name it: name it",
            );
            return None;
        }
        let is_header = |name: &str| {
            let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !name.is_empty() && name.bytes().all(is_of_name)
        };
        let headers = self.from_headers.iter().flatten().enumerate();
        let from_headers = headers.filter_map(|(index, JwtHeader { name, prefix })| {
            if !is_header(name) {
                let field = format!("fromHeaders[{index}].name");
                reader.malformed(&field, &format!("{name:?} is no name of a header"));
                return None;
            }
            Some((reader.names.text(name), reader.names.text(prefix)))
        });
        let from_headers = from_headers.collect();
        let claims = self.output_claim_to_headers.iter().flatten().enumerate();
        let claims_to_headers = claims.filter_map(|(index, ClaimToHeader { header, claim })| {
            if !is_header(header) || claim.is_empty() {
                let field = format!("outputClaimToHeaders[{index}]");
                reader.malformed(&field, "needs the names of a header and of a claim");
                return None;
            }
            Some((reader.names.text(header), reader.names.text(claim)))
        });
        let claims_to_headers = claims_to_headers.collect();
        let payload_to_header = self.output_payload_to_header.as_deref().filter(|name| {
            let is_one = name.is_empty() || is_header(name);
            if !is_one {
                let reason = format!("{name:?} is no name of a header");
                reader.malformed("outputPayloadToHeader", &reason);
            }
            is_one && !name.is_empty()
        });
        let payload_to_header = payload_to_header.map(|name| reader.names.text(name));
        Some(TokenIssuer {
            issuer: reader.names.text(&self.issuer),
            audiences: reader.texts("audiences", self.audiences.as_ref()),
            keys: reader.keys(self),
            from_headers,
            from_params: reader.texts("fromParams", self.from_params.as_ref()),
            from_cookies: reader.texts("fromCookies", self.from_cookies.as_ref()),
            forwards_token: self.forward_original_token,
            payload_to_header,
            claims_to_headers,
            space_delimited_claims: reader
                .texts("spaceDelimitedClaims", self.space_delimited_claims.as_ref()),
        })
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn texts(&mut self, field: &str, said: Option<&Vec<String>>) -> Vec<Arc<str>> {
        let mut texts = Vec::new();
        for (index, text) in said.into_iter().flatten().enumerate() {
            match text.is_empty() {
                true => self.malformed(&format!("{field}[{index}]"), "is empty: leave it out"),
                false => texts.push(self.names.text(text)),
            }
        }
        texts
    }

    /// Of an issuer whose keys cannot be had, no token is valid.
    fn keys(&mut self, rule: &JwtRule) -> TokenKeys {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (uri, keys) = (some(&rule.jwks_uri), some(&rule.jwks));
        if rule.timeout.is_some() && uri.is_none() {
            self.warned(
                "timeout",
                "is about spec.jwtRules.jwksUri, which is not there: leave it out",
            );
        }
        if uri.is_some() && keys.is_some() {
            self.malformed("jwks", "stands beside jwksUri: write one of them");
        }
        if let Some(keys) = keys {
            if let Err(reason) = key_set(&keys) {
                let refused = format!("{reason}, so that no token of the issuer is valid");
                self.malformed("jwks", &refused);
                return TokenKeys::None;
            }
            return TokenKeys::Inline(self.names.text(&keys));
        }
        let Some(uri) = uri else {
            self.warned(
                "jwksUri",
                "is not there and neither is jwks, and keys are not looked for by the issuer's name, \
                 so no token of the issuer is valid: write jwks",
            );
            return TokenKeys::None;
        };
        let has_host = ["http://", "https://"]
            .iter()
            .filter_map(|scheme| uri.strip_prefix(scheme))
            .any(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if !has_host {
            self.malformed("jwksUri", &format!("{uri:?} is no URL of http or https"));
            return TokenKeys::None;
        }
        self.warned(
            "jwksUri",
            "keys are not fetched yet, so no token of the issuer is valid: write them as jwks",
        );
        TokenKeys::Uri(self.names.text(&uri))
    }

    fn malformed(&mut self, field: &str, reason: &str) {
        self.findings
            .malformed(format!("{}.{field}", self.at), reason);
    }

    fn warned(&mut self, field: &str, reason: &str) {
        self.findings.warned(format!("{}.{field}", self.at), reason);
    }
}

/// Whether a text is a key set that sidecars can use.
fn key_set(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_KEY_SET {
        return Err("is larger than 1 MiB");
    }
    let set: Value = serde_json::from_str(text).map_err(|_| "is no JSON")?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or("has no list of keys")?;
    match keys.iter().any(is_key) {
        true => Ok(()),
        false => Err("has no key of a kind that signs tokens"),
    }
}

/// Whether it has what a key of its kind needs (RFC 7518, section 6, and RFC 8037).
fn is_key(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let has = |names: &[&str]| {
        let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
        names.iter().all(|name| {
            let text = text(name).unwrap_or_default();
            !text.is_empty() && text.bytes().all(is_encoded)
        })
    };
    match text("kty") {
        // Of 2048 bits, in base64url.
        Some("RSA") => has(&["n", "e"]) && text("n").is_some_and(|n| n.len() >= 342),
        Some("EC") => has(&["x", "y"]),
        Some("OKP") => has(&["x"]) && text("crv") == Some("Ed25519"),
        Some("oct") => has(&["k"]),
        _ => false,
    }
}
