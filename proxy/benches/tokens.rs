//! What the token of a request costs: the bare check of its signature, and the filter with the
//! configuration that `weir-control` gives it, without and with tokens that it remembers.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use divan::{Bencher, black_box};
use serde_json::{Value, json};
use weir_api::xds::json::read_bootstrap;
use weir_proxy::{
    config::{format::Command, http_filter::HttpFilter, listener::NetworkFilter},
    convert,
    filter::http::{ActiveFilters, Decoding, HttpFilters, Step, Stream},
    format::Values,
    http::{
        codec::h1::request::Request, edits::Edits, head::RequestHead, route::CachedRoute,
        route::Matched,
    },
    metadata::{FilterState, Metadata},
    rbac::ConnectionAttributes,
    runtime::Runtime,
    stats::{Registry, Scope},
};
use weir_tests::tokens::{Issuer, key_set};

const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

fn main() {
    divan::main();
}

/// An hour of life, and what issuers usually say of a person.
fn token(issuer: &Issuer) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let expires = now.unwrap_or_default() + Duration::from_secs(3600);
    issuer.token(&json!({
        "iss": "https://a.example", "sub": "248289761001", "aud": "shop", "azp": "web",
        "iat": expires.as_secs() - 3600, "exp": expires.as_secs(), "jti": "6a3c1f5e-8f0b-4f1e",
        "scope": "openid profile email", "email": "ann@a.example", "groups": ["staff", "admin"],
    }))
}

/// The key of an issuer, made ready.
fn key(issuer: &Issuer) -> ParsedPublicKey {
    let jwk = issuer.jwk();
    let part = |name: &str| {
        let text = jwk[name].as_str().unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url")
    };
    let key = match jwk["kty"].as_str() {
        Some("RSA") => {
            let (n, e) = (part("n"), part("e"));
            RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
                .ok()
        }
        Some("EC") => {
            let point = [vec![4], part("x"), part("y")].concat();
            ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).ok()
        }
        _ => ParsedPublicKey::new(&signature::ED25519, part("x")).ok(),
    };
    key.expect("a key")
}

/// The floor: what the provider of cryptography takes, with everything else done before.
#[divan::bench(args = ALGORITHMS)]
fn bare_check(bencher: Bencher<'_, '_>, algorithm: &'static str) {
    let issuer = Issuer::new(algorithm, "k");
    let (key, token) = (key(&issuer), token(&issuer));
    let (signed, signature) = token.rsplit_once('.').expect("three sections");
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.expect("base64url");
    bencher.bench_local(|| {
        let verified = key.verify_sig(black_box(signed).as_bytes(), &signature);
        verified.expect("signed by it");
    });
}

/// A token that was not seen before.
#[divan::bench(args = ALGORITHMS)]
fn new_token(bencher: Bencher<'_, '_>, algorithm: &'static str) {
    pass(bencher, &Issuer::new(algorithm, "k"), &Value::Null);
}

/// A token that was seen lately.
#[divan::bench(args = ALGORITHMS)]
fn known_token(bencher: Bencher<'_, '_>, algorithm: &'static str) {
    pass(bencher, &Issuer::new(algorithm, "k"), &json!({}));
}

/// Requests with a token pass the filter; `cache` is its `jwt_cache_config`.
fn pass(bencher: Bencher<'_, '_>, issuer: &Issuer, cache: &Value) {
    let filters = HttpFilters::new(
        &configured(issuer, cache),
        &Registry::default(),
        &Scope::http("in"),
    );
    let token = token(issuer);
    let head = format!(
        "GET /cart/items?page=2 HTTP/1.1\r\nhost: shop.example\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let mut request = Request::default();
    request.parse(head.as_bytes(), 100).expect("a head");
    bencher.bench_local(|| {
        let mut metadata = Metadata::default();
        let step = step(&filters, black_box(&request), &mut metadata);
        assert!(matches!(step, Step::Continue));
        // Within the measurement, as what is returned is not freed in it.
        drop(black_box(metadata));
    });
}

/// The chain as `weir-control` writes it for one RequestAuthentication.
fn configured(issuer: &Issuer, cache: &Value) -> Arc<[HttpFilter]> {
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let tokens = json!({
        "@type": kind("http.jwt_authn.v3.JwtAuthentication"),
        "bypass_cors_preflight": true,
        "providers": { "origins-0": {
            "issuer": "https://a.example",
            "local_jwks": { "inline_string": key_set(&[issuer]) },
            "payload_in_metadata": "payload",
            "normalize_payload_in_metadata": { "space_delimited_claims": ["scope", "permission"] },
            "jwt_cache_config": cache,
        } },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "requires_any": { "requirements": [
            { "provider_name": "origins-0" }, { "allow_missing": {} },
        ] } } }],
    });
    let router = json!({ "@type": kind("http.router.v3.Router") });
    let manager = json!({
        "@type": kind("network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "http_filters": [
            { "name": "tokens", "typed_config": tokens },
            { "name": "router", "typed_config": router },
        ],
        "route_config": {},
    });
    let bootstrap = json!({ "static_resources": { "listeners": [{
        "name": "web",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 10000 } },
        "filter_chains": [{ "filters": [{ "name": "manager", "typed_config": manager }] }],
    }] } });
    let message = read_bootstrap(&bootstrap.to_string()).expect("a bootstrap");
    let bootstrap = convert::bootstrap(message).expect("a bootstrap");
    match &bootstrap.listeners[0].filter_chains[0].filters[0] {
        NetworkFilter::HttpConnectionManager(manager) => Arc::clone(&manager.filters),
        _ => panic!("no HTTP connection manager"),
    }
}

/// Formats find nothing: none is used.
struct Nothing;

impl Values for Nothing {
    fn append(&self, _: &Command, _: &mut String) -> bool {
        false
    }
}

/// Lets a request pass through the chain.
fn step(filters: &HttpFilters, request: &Request, metadata: &mut Metadata) -> Step {
    let client = ([10, 0, 0, 1], 40_000).into();
    let connection = ConnectionAttributes {
        source: client,
        direct_remote: client,
        remote: client,
        destination: ([10, 0, 0, 2], 8080).into(),
        server_name: "",
        tls: None,
    };
    let find = |_: &dyn RequestHead| None::<Matched<'_>>;
    ActiveFilters::new(filters, None).on_request_headers(&mut Decoding {
        head: request,
        edits: &mut Edits::default(),
        has_body: false,
        body: None,
        route: CachedRoute::new(&find),
        stream: Stream {
            info: &Nothing,
            connection: &connection,
            runtime: &Runtime::default(),
            random: &|| 0,
            metadata,
            filter_state: &FilterState::EMPTY,
            clusters: None,
            now: Instant::now(),
        },
    })
}
