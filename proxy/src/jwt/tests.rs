use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use weir_tests::tokens::{Issuer, key_set};

use super::*;

const ALGORITHMS: [&str; 13] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "HS256", "HS384", "HS512",
];

fn set(issuers: &[&Issuer]) -> KeySet {
    KeySet::parse(key_set(issuers).as_bytes()).expect("a set")
}

#[test]
fn each_algorithm_is_checked_and_no_other_key_passes() {
    for algorithm in ALGORITHMS {
        let [issuer, other] = [1, 2].map(|of| {
            let mut key = Issuer::new(algorithm, "same").jwk();
            key["of"] = of.into();
            (
                Issuer::new(algorithm, if of == 1 { "k1" } else { "k2" }),
                key,
            )
        });
        let token = issuer.0.token(&json!({ "iss": "i" }));
        let token = Token::parse(&token).expect(algorithm);
        assert_eq!(set(&[&issuer.0]).verify(&token), Ok(()), "{algorithm}");
        assert_eq!(set(&[&other.0, &issuer.0]).verify(&token), Ok(()));
        assert_eq!(set(&[&other.0]).verify(&token), Err(Status::KidAlgMismatch));
        if algorithm.starts_with("HS") {
            continue;
        }
        let nameless = json!({ "keys": [{ "kid": "k1" }] });
        assert!(KeySet::parse(nameless.to_string().as_bytes()).is_err());
        let stranger = json!({ "keys": [other.1] })
            .to_string()
            .replace("same", "k1");
        let stranger = KeySet::parse(stranger.as_bytes()).expect("a set");
        assert_eq!(
            stranger.verify(&token),
            Err(Status::VerificationFails),
            "{algorithm}"
        );
    }
}

#[test]
fn a_public_key_is_no_secret_that_signs() {
    let rsa = Issuer::new("RS256", "k");
    let mut key = rsa.jwk();
    key.as_object_mut().expect("an object").remove("alg");
    let keys = json!({ "keys": [key] }).to_string();
    let keys = KeySet::parse(keys.as_bytes()).expect("a set");
    let forged = Issuer::new("HS256", "k").token(&json!({}));
    let forged = Token::parse(&forged).expect("a token");
    assert_eq!(keys.verify(&forged), Err(Status::VerificationFails));
    let none = Token::parse("eyJhbGciOiJub25lIn0.e30.AA");
    assert_eq!(none.err(), Some(Status::HeaderUnknownAlg));
}

#[test]
fn what_is_no_token_is_said_to_be_none() {
    let cases = [
        ("", Status::BadFormat),
        ("a.b", Status::BadFormat),
        ("a.b.c.d", Status::BadFormat),
        ("a..c", Status::BadFormat),
        ("*.b.c", Status::HeaderBadBase64),
        ("e30x.b.c", Status::HeaderBadJson),
        ("e30.b.c", Status::HeaderBadAlg),
    ];
    for (text, expected) in cases {
        assert_eq!(Token::parse(text).err(), Some(expected), "{text}");
    }
    let issuer = Issuer::new("HS256", "k");
    let claims = [
        (json!({ "iss": 1 }), Status::IssNotString),
        (json!({ "sub": [] }), Status::SubNotString),
        (json!({ "iat": "1" }), Status::IatNotInteger),
        (json!({ "nbf": -1 }), Status::NbfOutOfRange),
        (json!({ "exp": 1e30 }), Status::ExpOutOfRange),
        (json!({ "exp": null }), Status::ExpNotInteger),
        (json!({ "jti": 1 }), Status::JtiNotString),
        (json!({ "aud": ["a", 1] }), Status::AudNotString),
        (json!(["no", "object"]), Status::PayloadBadJson),
    ];
    for (claims, expected) in claims {
        let token = issuer.token(&claims);
        assert_eq!(Token::parse(&token).err(), Some(expected), "{claims}");
    }
    // Envoy passes over the space and reads on; base64url has none.
    let word = format!("{} x", issuer.token(&json!({})));
    assert_eq!(Token::parse(&word).err(), Some(Status::SignatureBadBase64));
    let long = format!("{}.b.c", "a".repeat(1024 * 1024));
    assert_eq!(Token::parse(&long).err(), Some(Status::TooLarge));
}

#[test]
fn a_token_has_its_time_give_or_take_a_skew() {
    let token = Issuer::new("HS256", "k").token(&json!({ "nbf": 1000, "exp": 2000 }));
    let token = Token::parse(&token).expect("a token");
    let at = |now| token.check_time(Duration::from_secs(now), Duration::from_secs(60));
    assert_eq!(at(939), Err(Status::NotYetValid));
    assert_eq!((at(940), at(2060)), (Ok(()), Ok(())));
    assert_eq!(at(2061), Err(Status::Expired));
}

#[test]
fn key_sets_that_cannot_be_used_are_refused_and_single_keys_passed_over() {
    let parse = |text: &str| KeySet::parse(text.as_bytes()).err();
    assert_eq!(parse("{"), Some("Jwks is an invalid JSON"));
    assert_eq!(parse("{}"), Some("Jwks does not have [keys] field"));
    assert_eq!(
        parse(r#"{"keys":{}}"#),
        Some("[keys] in Jwks is not an array")
    );
    let no_key = Some("Jwks doesn't have any valid public key");
    assert_eq!(
        parse(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"Ag"}]}"#),
        no_key
    );
    let large = " ".repeat(10 * 1024 * 1024);
    assert_eq!(parse(&large), Some("Jwks is too large"));
    let issuer = Issuer::new("ES256", "k");
    let keys = json!({ "keys": [{ "kty": "new" }, 5, issuer.jwk()] }).to_string();
    let token = Token::parse(&issuer.token(&json!({}))).expect("a token");
    let keys = KeySet::parse(keys.as_bytes()).expect("a set");
    assert_eq!(keys.verify(&token), Ok(()));
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in "[ -~]{0,60}", sections in "[A-Za-z0-9_=.-]{0,80}") {
        let _ = Token::parse(&text);
        let _ = Token::parse(&sections);
        let _ = KeySet::parse(text.as_bytes());
        let _ = KeySet::parse(format!(r#"{{"keys":[{{"kty":"EC","x":{text:?},"y":""}}]}}"#).as_bytes());
    }
}
