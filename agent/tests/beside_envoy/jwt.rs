//! Tokens: answers, what the endpoint is told, and counters must be the same. The cases are data, in
//! `jwt.cases.yaml`; `${name}` in them is a token.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use weir_tests::{
    envoy,
    tokens::{Issuer, key_set},
};

use crate::{
    case::{self, Case},
    stats,
};

const COUNTED: &str = "http.web.jwt_authn.";
const ALGORITHMS: [&str; 13] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "HS256", "HS384", "HS512",
];

#[test]
fn tokens_are_taken_and_refused_as_envoy_does() {
    if !envoy::available() {
        return;
    }
    let issuers = ALGORITHMS.map(|algorithm| Issuer::new(algorithm, algorithm));
    let all: Vec<_> = issuers.iter().collect();
    let tokens = tokens(&issuers);
    let cases = tokens.iter().fold(
        include_str!("jwt.cases.yaml").to_owned(),
        |cases, (name, token)| cases.replace(&format!("${{{name}}}"), token),
    );
    let cases: Vec<Case> = yaml_serde::from_str(&cases).expect("cases");
    let bootstrap = include_str!("jwt.bootstrap.yaml").replace("@KEYS@", &key_set(&all));
    let (envoy, weir) = case::both(&bootstrap);
    let mut wrong = case::compare(&cases, &envoy, &weir);
    let (theirs, ours) = (stats::read(envoy.admin()), stats::read(weir.admin()));
    let names = theirs.keys().chain(ours.keys());
    for name in names.filter(|name| name.starts_with(COUNTED)) {
        let (theirs, ours) = (theirs.get(name).unwrap_or(&0), ours.get(name).unwrap_or(&0));
        if theirs != ours {
            wrong.push(format!("{name}: Envoy {theirs}, ours {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The tokens of the cases, by name.
fn tokens(issuers: &[Issuer]) -> BTreeMap<String, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let claims = |more: Value| {
        let mut claims = json!({ "iss": "https://a.example", "sub": "ann", "exp": now + 3600 });
        let more = more.as_object().expect("an object");
        let fields = claims.as_object_mut().expect("an object");
        for (name, value) in more {
            match value {
                Value::Null => drop(fields.remove(name)),
                value => drop(fields.insert(name.clone(), value.clone())),
            }
        }
        claims
    };
    let by = |algorithm: &str| {
        let index = ALGORITHMS.iter().position(|known| *known == algorithm);
        &issuers[index.expect("an algorithm")]
    };
    let mut tokens: BTreeMap<_, _> = ALGORITHMS
        .iter()
        .map(|name| ((*name).to_owned(), by(name).token(&claims(json!({})))))
        .collect();
    let shapes = [
        ("expired", json!({ "exp": now - 3600 })),
        ("young", json!({ "nbf": now + 3600 })),
        ("skewed", json!({ "exp": now - 30 })),
        ("eternal", json!({ "exp": null })),
        ("long", json!({ "exp": now + 100_000 })),
        ("other", json!({ "iss": "https://b.example" })),
        ("nobody", json!({ "iss": "https://c.example" })),
        ("unsigned_iss", json!({ "iss": null })),
        ("audience", json!({ "aud": ["x", "https://api.example/"] })),
        ("wrong_audience", json!({ "aud": "x" })),
        ("wrong_subject", json!({ "sub": "bob" })),
        ("bad_iss", json!({ "iss": 5 })),
        ("bad_exp", json!({ "exp": "soon" })),
        (
            "rich",
            json!({
                "num": 5, "f": 1.5, "neg": -2, "b": true, "o": { "k": { "deep": "d" } },
                "l": ["x", "y"], "a.b": "dotted", "scope": "read  write", "empty": "",
            }),
        ),
    ];
    for (name, more) in shapes {
        tokens.insert(name.to_owned(), by("ES256").token(&claims(more)));
    }
    let forged = Issuer::new("ES256", "ES256").token(&claims(json!({})));
    tokens.insert("forged".to_owned(), forged);
    let stranger = Issuer::new("ES256", "unknown").token(&claims(json!({})));
    tokens.insert("stranger".to_owned(), stranger);
    let nameless = json!({ "alg": "ES256" });
    let nameless = by("ES256").sign(&nameless, &claims(json!({})));
    tokens.insert("nameless".to_owned(), nameless);
    let confused = json!({ "alg": "HS256", "kid": "RS256" });
    let confused = by("HS256").sign(&confused, &claims(json!({})));
    tokens.insert("confused".to_owned(), confused);
    tokens
}
