//! `envoy.filters.http.jwt_authn`

use std::time::Duration;

use crate::{
    config::{matcher::StringMatcher, route::RouteMatch},
    jwt::KeySet,
};

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`
#[derive(Debug, Default)]
pub struct JwtAuthn {
    /// Who issues tokens, in the order of their names.
    pub providers: Vec<JwtProvider>,
    /// Where tokens of all of them stand.
    pub locations: Vec<JwtLocation>,
    /// The first whose match holds says what is required.
    pub rules: Vec<RequirementRule>,
    /// By name, for routes and rules.
    pub requirement_map: Vec<(String, JwtRequirement)>,
    /// What is required where no rule matches, by an object of the filter state.
    pub filter_state_rules: Option<FilterStateRule>,
    /// Preflight requests of CORS carry no token, and pass.
    pub bypass_cors_preflight: bool,
    /// Say nothing but the status to who is refused.
    pub strip_failure_response: bool,
    /// Part of the names of what is counted.
    pub stat_prefix: String,
}

/// `JwtProvider`
#[derive(Debug)]
pub struct JwtProvider {
    /// Its key.
    pub name: String,
    /// `iss` of its tokens; empty: any.
    pub issuer: String,
    /// One of these must be in `aud`; empty: any. As they are compared: [`comparable_audience`].
    pub audiences: Vec<String>,
    /// What `sub` must be.
    pub subjects: Option<StringMatcher>,
    /// Tokens without `exp` are refused.
    pub require_expiration: bool,
    /// How much longer a token may be valid.
    pub max_lifetime: Option<Duration>,
    /// By how much clocks may differ.
    pub clock_skew: Duration,
    /// With which it signs.
    pub keys: KeySet,
    /// Where tokens stand.
    pub locations: Vec<JwtLocation>,
    /// The token is sent on.
    pub forward: bool,
    /// What of a valid token is told to the endpoint and to other filters.
    pub outputs: JwtOutputs,
    /// Tokens that are remembered by each worker; none: none is.
    pub cache: Option<JwtCache>,
}

/// A place in a request where tokens of some issuers stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtLocation {
    /// Where.
    pub place: JwtPlace,
    /// Whose tokens may stand there; empty: anyone's.
    pub issuers: Vec<String>,
}

/// Where in a request a token stands. In the order in which Envoy looks, the last place first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum JwtPlace {
    /// `from_headers`
    Header {
        /// Lower case.
        name: String,
        /// What stands before the token.
        value_prefix: String,
    },
    /// `from_params`: a query parameter.
    Param(String),
    /// `from_cookies`
    Cookie(String),
}

/// What of a valid token is told to the endpoint and to other filters. Names that are empty: nothing.
#[derive(Debug, Default)]
pub struct JwtOutputs {
    /// The header that has the payload, in base64url.
    pub forward_payload_header: String,
    /// Padded.
    pub pad_forward_payload_header: bool,
    /// Headers that have claims.
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// Key of the payload in the filter's dynamic metadata.
    pub payload_in_metadata: String,
    /// Claims of the payload there that become lists of the words in them.
    pub space_delimited_claims: Vec<String>,
    /// Key of the token's header there.
    pub header_in_metadata: String,
    /// Key there of why a token was refused.
    pub failed_status_in_metadata: String,
    /// The route is chosen again when one of these has changed something.
    pub clear_route_cache: bool,
}

/// `JwtClaimToHeader`
#[derive(Debug)]
pub struct ClaimToHeader {
    /// Lower case.
    pub header: String,
    /// The way to the claim through the payload.
    pub path: Vec<String>,
}

/// `JwtCacheConfig`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JwtCache {
    /// Tokens.
    pub size: u32,
    /// Bytes of a token; longer ones are not remembered.
    pub max_token_size: u32,
}

/// `JwtRequirement`
#[derive(Debug)]
pub enum JwtRequirement {
    /// Nothing is required.
    Nothing,
    /// `provider_name`, `provider_and_audiences`
    Provider {
        /// Index of the provider.
        provider: usize,
        /// In place of the provider's; none: the provider's.
        audiences: Option<Vec<String>>,
    },
    /// `requires_any`
    Any {
        /// One of these.
        requirements: Vec<JwtRequirement>,
        /// Or what else is let through.
        allow: Option<Allowance>,
    },
    /// `requires_all`
    All(Vec<JwtRequirement>),
    /// `allow_missing`, `allow_missing_or_failed`: of all providers.
    Allow(Allowance),
}

/// What passes without a valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allowance {
    /// A request without a token.
    Missing,
    /// And one whose token is not valid.
    MissingOrFailed,
}

/// `RequirementRule`
#[derive(Debug)]
pub struct RequirementRule {
    /// Of which requests.
    pub criteria: RouteMatch,
    /// What is required; none: nothing.
    pub requirement: Option<RequirementRef>,
}

/// A requirement in its place, or one of the map.
#[derive(Debug)]
pub enum RequirementRef {
    /// `requires`
    Here(JwtRequirement),
    /// `requirement_name`: its index in the map.
    Named(usize),
}

/// `FilterStateRule`
#[derive(Debug)]
pub struct FilterStateRule {
    /// Of the object.
    pub name: String,
    /// What is required, by what the object says.
    pub requires: Vec<(String, JwtRequirement)>,
}

/// `PerRouteConfig`
#[derive(Debug)]
pub enum JwtPerRoute {
    /// Nothing is required.
    Disabled,
    /// The requirement of this name in the filter's map.
    RequirementName(String),
}

// === impl JwtAuthn ===

impl JwtAuthn {
    /// The requirement of the map that has this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&JwtRequirement> {
        let mut known = self.requirement_map.iter();
        known
            .find(|(known, _)| known == name)
            .map(|(_, found)| found)
    }
}

/// An audience as audiences are compared: without scheme and trailing slash, as in Envoy.
#[must_use]
pub fn comparable_audience(audience: &str) -> &str {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| audience.strip_prefix(scheme));
    let rest = rest.unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}
