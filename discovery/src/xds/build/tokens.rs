//! Whose tokens count at a pod: the filter that checks them.
//!
//! A request without a token passes, and one with a token that is not valid does not: whether one is
//! needed, rules on who may do what say. Of several issuers whose tokens stand in one place, that of one
//! is enough.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/jwt_authn_filter>

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            core::v3::{DataSource, data_source::Specifier},
            route::v3::{RouteMatch, route_match::PathSpecifier},
        },
        extensions::filters::{
            http::jwt_authn::v3::{
                JwtAuthentication, JwtCacheConfig, JwtClaimToHeader, JwtHeader, JwtProvider,
                JwtRequirement, JwtRequirementAndList, JwtRequirementOrList, RequirementRule,
                jwt_provider::{JwksSourceSpecifier, NormalizePayload},
                jwt_requirement::RequiresType,
                requirement_rule::RequirementType,
            },
            network::http_connection_manager::v3::{HttpFilter, http_filter::ConfigType},
        },
    },
    google::protobuf::Empty,
};

use crate::model::{TokenIssuer, TokenKeys};

/// The filter, and the namespace of what it says.
pub(super) const FILTER: &str = "envoy.filters.http.jwt_authn";
/// Under which it says the payload of a valid token.
pub(super) const PAYLOAD: &str = "payload";

/// A set with a key of which nobody has the private part, since it is the digest of a text: no token is
/// valid. Envoy refuses a set without keys.
const NO_KEYS: &str = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\
                       \"x\":\"HFWmet0JB0CUOs3BxeTylOjJ3dBfXyGb69Xkem_RIa0\"}]}";
/// Claims that are lists of words (RFC 8693, section 4.2), as Istio reads them.
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// The filter; none where nobody's tokens count.
pub(super) fn http_filter(issuers: &[TokenIssuer]) -> Option<HttpFilter> {
    if issuers.is_empty() {
        return None;
    }
    // One provider a part: the bytes of a map have no order, and a resource that differs is sent again.
    let providers = issuers.iter().enumerate();
    let providers = providers.map(|(index, issuer)| JwtAuthentication {
        providers: [(name(index), provider(issuer))].into(),
        ..JwtAuthentication::default()
    });
    let rest = JwtAuthentication {
        rules: vec![RequirementRule {
            r#match: Some(RouteMatch {
                path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                ..RouteMatch::default()
            }),
            requirement_type: Some(RequirementType::Requires(requirement(issuers.len()))),
        }],
        bypass_cors_preflight: true,
        ..JwtAuthentication::default()
    };
    let parts: Vec<_> = providers.chain([rest]).collect();
    let config = codec::pack_jwt_authentication(&parts);
    Some(HttpFilter {
        name: FILTER.to_owned(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    })
}

/// As Istio calls it.
fn name(index: usize) -> String {
    format!("origins-{index}")
}

/// A valid token of one of them; or of each no token, or a valid one.
fn requirement(issuers: usize) -> JwtRequirement {
    let of = |kind| JwtRequirement {
        requires_type: Some(kind),
    };
    let any = |requirements| {
        of(RequiresType::RequiresAny(JwtRequirementOrList {
            requirements,
        }))
    };
    let valid = |index| of(RequiresType::ProviderName(name(index)));
    let missing = || of(RequiresType::AllowMissing(Empty {}));
    let mut each: Vec<_> = (0..issuers)
        .map(|index| any(vec![valid(index), missing()]))
        .collect();
    if each.len() == 1 {
        return each.remove(0);
    }
    let all = of(RequiresType::RequiresAll(JwtRequirementAndList {
        requirements: each,
    }));
    any((0..issuers).map(valid).chain([all]).collect())
}

fn provider(issuer: &TokenIssuer) -> JwtProvider {
    let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(|it| (**it).to_owned()).collect();
    let keys = match &issuer.keys {
        TokenKeys::Inline(keys) => &**keys,
        TokenKeys::Uri(_) | TokenKeys::None => NO_KEYS,
    };
    let headers = issuer.from_headers.iter().map(|(name, prefix)| JwtHeader {
        name: (**name).to_owned(),
        value_prefix: (**prefix).to_owned(),
    });
    let claims = issuer.claims_to_headers.iter();
    let claims = claims.map(|(header, claim)| JwtClaimToHeader {
        header_name: (**header).to_owned(),
        claim_name: (**claim).to_owned(),
        ..JwtClaimToHeader::default()
    });
    let words = SPACE_DELIMITED.into_iter();
    let words = words.chain(issuer.space_delimited_claims.iter().map(|it| &**it));
    JwtProvider {
        issuer: (*issuer.issuer).to_owned(),
        audiences: texts(&issuer.audiences),
        forward: issuer.forwards_token,
        from_headers: headers.collect(),
        from_params: texts(&issuer.from_params),
        from_cookies: texts(&issuer.from_cookies),
        forward_payload_header: issuer
            .payload_to_header
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        payload_in_metadata: PAYLOAD.to_owned(),
        normalize_payload_in_metadata: Some(NormalizePayload {
            space_delimited_claims: words.map(str::to_owned).collect(),
        }),
        claim_to_headers: claims.collect(),
        // A hundred tokens of up to 4 KiB: who calls again is known again without a signature check.
        jwt_cache_config: Some(JwtCacheConfig::default()),
        jwks_source_specifier: Some(JwksSourceSpecifier::LocalJwks(DataSource {
            specifier: Some(Specifier::InlineString(keys.to_owned())),
            ..DataSource::default()
        })),
        ..JwtProvider::default()
    }
}
