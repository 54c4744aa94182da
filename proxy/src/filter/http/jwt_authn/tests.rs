use serde_json::json;
use weir_tests::tokens::{Issuer, key_set};

use super::{cache::TokenCache, *};
use crate::{
    config::http_filter::{
        HttpFilterConfig,
        jwt_authn::{
            ClaimToHeader, FilterStateRule, JwtCache, JwtLocation, JwtOutputs, JwtPlace,
            JwtProvider,
        },
    },
    filter::http::{
        ActiveFilters,
        tests::{Fixture, chain},
    },
    http::edits::Edits,
    jwt::{KeySet, Token},
    metadata::{FilterState, Metadata},
};

fn provider(issuer: &Issuer, outputs: JwtOutputs) -> JwtProvider {
    JwtProvider {
        name: "p".to_owned(),
        issuer: String::new(),
        audiences: Vec::new(),
        subjects: None,
        require_expiration: false,
        max_lifetime: None,
        clock_skew: Duration::from_secs(60),
        keys: KeySet::parse(key_set(&[issuer]).as_bytes()).expect("keys"),
        locations: vec![JwtLocation {
            place: JwtPlace::Header {
                name: "x-token".to_owned(),
                value_prefix: String::new(),
            },
            issuers: Vec::new(),
        }],
        forward: false,
        outputs,
        cache: None,
    }
}

fn required() -> JwtRequirement {
    JwtRequirement::Provider {
        provider: 0,
        audiences: None,
    }
}

fn token_of(issuer: &Issuer, claims: &serde_json::Value) -> std::rc::Rc<Token> {
    let token = Token::parse(&issuer.token(claims));
    std::rc::Rc::new(token.expect("a token"))
}

#[test]
fn claims_are_found_by_their_way() {
    let issuer = Issuer::new("HS256", "k");
    let outputs = JwtOutputs {
        claim_to_headers: vec![ClaimToHeader {
            header: "x-claim".to_owned(),
            path: vec!["a.b".to_owned(), "c.d".to_owned()],
        }],
        ..JwtOutputs::default()
    };
    let token = token_of(&issuer, &json!({ "a.b": { "c.d": "x.y" } }));
    let (mut edits, mut said) = (Edits::default(), Map::new());
    outputs::tell(&token, &outputs, &mut edits, &mut said);
    assert_eq!(edits.added().collect::<Vec<_>>(), [("x-claim", "x.y")]);
}

/// Nobody leaves objects in the filter state of a request yet; Envoy's filters for that do.
#[test]
fn an_object_of_the_filter_state_says_what_is_required() {
    let issuer = Issuer::new("HS256", "k");
    let config = JwtAuthn {
        providers: vec![provider(&issuer, JwtOutputs::default())],
        filter_state_rules: Some(FilterStateRule {
            name: "who".to_owned(),
            requires: vec![("guest".to_owned(), required())],
        }),
        ..JwtAuthn::default()
    };
    let (filters, _) = chain(vec![("t", HttpFilterConfig::JwtAuthn(Box::new(config)))]);
    for (object, is_refused) in [(None, false), (Some("guest"), true), (Some("host"), false)] {
        let mut state = FilterState::default();
        if let Some(object) = object {
            state.set("who", object);
        }
        let mut fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", Vec::new());
        fixture.filter_state = state;
        let mut active = ActiveFilters::new(&filters, None);
        let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
        let step = fixture.decode(&mut active, &mut edits, &mut metadata);
        assert_eq!(matches!(step, Step::Reply(_)), is_refused, "{object:?}");
    }
}

#[test]
fn tokens_seen_lately_are_remembered_up_to_a_bound() {
    let issuer = Issuer::new("HS256", "k");
    let token = token_of(&issuer, &json!({}));
    let mut cache = TokenCache::new(JwtCache {
        size: 4,
        max_token_size: 3,
    });
    cache.insert("long".to_owned(), token.clone());
    assert!(cache.get("long").is_none());
    cache.insert("a".to_owned(), token.clone());
    for n in 0..100 {
        cache.insert(n.to_string(), token.clone());
        assert!(cache.get("a").is_some(), "one that is used stays");
    }
    let kept = (0..100).filter(|n| cache.get(&n.to_string()).is_some());
    assert!((1..4).contains(&kept.count()));
    cache.remove("a");
    assert!(cache.get("a").is_none());
}
