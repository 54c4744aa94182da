//! Rules in, what they attach out.

use super::*;
use crate::{
    model::{Attachment, Attachments, Event, Index, Interner, Object, TokenIssuer, TokenKeys},
    rules::{Rule as _, Settings},
};

const KEYS: &str = r#"'{"keys":[{"kty":"oct","k":"AA"}]}'"#;

fn read(yaml: &str) -> (Option<Attachment>, Vec<String>) {
    let document = yaml_serde::Deserializer::from_str(yaml).next().expect(yaml);
    let rule = RequestAuthentication::deserialize(document).expect(yaml);
    let mut problems = Vec::new();
    let read = rule.attachment(&Interner::default(), &Settings::default(), &mut problems);
    (read, problems.iter().map(ToString::to_string).collect())
}

fn rule(namespace: &str, name: &str, spec: &str) -> String {
    format!("{{metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}")
}

/// The issuer of a rule with these fields beside its keys.
fn issuer(fields: &str) -> (TokenIssuer, Vec<String>) {
    let spec = format!("{{jwtRules: [{{issuer: i, jwks: {KEYS}, {fields}}}]}}");
    let (attachment, problems) = read(&rule("shop", "r", &spec));
    let Some(Effect::Tokens(TokenRule { issuers })) = attachment.map(|it| it.effect) else {
        panic!("{spec} attaches nothing: {problems:?}");
    };
    let [issuer] = &issuers[..] else {
        panic!("{issuers:?}");
    };
    (issuer.clone(), problems)
}

#[test]
fn every_field_is_read() {
    let (issuer, problems) = issuer(
        "audiences: [a], fromHeaders: [{name: X-T, prefix: 'v '}], fromParams: [p], fromCookies: [c], \
         outputPayloadToHeader: x-p, outputClaimToHeaders: [{header: x-s, claim: sub}], \
         forwardOriginalToken: true, spaceDelimitedClaims: [roles]",
    );
    assert_eq!(problems, Vec::<String>::new());
    let expected = TokenIssuer {
        issuer: "i".into(),
        audiences: vec!["a".into()],
        keys: TokenKeys::Inline(KEYS.trim_matches('\'').into()),
        from_headers: vec![("X-T".into(), "v ".into())],
        from_params: vec!["p".into()],
        from_cookies: vec!["c".into()],
        forwards_token: true,
        payload_to_header: Some("x-p".into()),
        claims_to_headers: vec![("x-s".into(), "sub".into())],
        space_delimited_claims: vec!["roles".into()],
    };
    assert_eq!(issuer, expected);
}

#[test]
fn what_cannot_be_honoured_is_said_with_its_field() {
    let cases = [
        ("jwtRules: [{jwks: '{}'}]", "jwtRules[0].issuer"),
        ("jwtRules: [{issuer: i}]", "jwtRules[0].jwksUri"),
        ("jwtRules: [{issuer: i, jwks: x}]", "jwtRules[0].jwks"),
        (
            "jwtRules: [{issuer: i, jwks: '{\"keys\":[]}'}]",
            "jwtRules[0].jwks",
        ),
        (
            "jwtRules: [{issuer: i, jwksUri: 'ftp://x'}]",
            "jwtRules[0].jwksUri",
        ),
        (
            "jwtRules: [{issuer: i, jwks_uri: 'https://x/k'}]",
            "jwtRules[0].jwksUri",
        ),
        ("targetRefs: [{kind: Gateway, name: g}]", "targetRefs"),
    ];
    for (spec, field) in cases {
        let (_, problems) = read(&rule("shop", "r", &format!("{{{spec}}}")));
        let named = format!("RequestAuthentication shop/r: spec.{field}: ");
        assert!(
            problems.len() == 1 && problems[0].starts_with(&named),
            "{spec}: {problems:?}"
        );
    }
    for (fields, field) in [
        ("audiences: ['']", "audiences[0]"),
        ("fromHeaders: [{name: 'a b'}]", "fromHeaders[0].name"),
        ("fromParams: ['']", "fromParams[0]"),
        (
            "outputClaimToHeaders: [{header: x}]",
            "outputClaimToHeaders[0]",
        ),
        ("outputPayloadToHeader: 'a b'", "outputPayloadToHeader"),
        ("timeout: 5s", "timeout"),
    ] {
        let (_, problems) = issuer(fields);
        let named = format!("RequestAuthentication shop/r: spec.jwtRules[0].{field}: ");
        assert!(
            problems.len() == 1 && problems[0].starts_with(&named),
            "{fields}: {problems:?}"
        );
    }
}

fn attachments(rules: &[String]) -> Attachments {
    let mut index = Index::default();
    for rule in rules {
        let (attachment, _) = read(rule);
        index.apply(Event::Applied(Object::Attachment(attachment.expect("one"))));
    }
    let (snapshot, _) = index.commit().expect("something is new");
    snapshot.attachments().clone()
}

#[test]
fn the_rules_of_all_levels_count_together() {
    let by = |issuer: &str| format!("jwtRules: [{{issuer: {issuer}, jwks: {KEYS}}}]");
    let all = attachments(&[
        rule("weir-system", "mesh", &format!("{{{}}}", by("mesh"))),
        rule("shop", "all", &format!("{{{}}}", by("shop"))),
        rule("shop", "again", &format!("{{{}}}", by("shop"))),
        rule(
            "shop",
            "web",
            &format!("{{selector: {{matchLabels: {{app: web}}}}, {}}}", by("web")),
        ),
        rule("bank", "all", &format!("{{{}}}", by("bank"))),
    ]);
    let issuers = |labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        let issuers = all.tokens("shop", &labels.collect());
        let issuers = issuers.iter().map(|it| it.issuer.to_string());
        issuers.collect::<Vec<_>>()
    };
    assert_eq!(issuers(&[]), ["mesh", "shop"]);
    assert_eq!(issuers(&[("app", "web")]), ["mesh", "shop", "web"]);
    assert_eq!(all.tokens_of_unknown("shop"), None);
    assert!(all.tokens_of_unknown("bank").is_some());
}
