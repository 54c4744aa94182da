//! Who issues tokens.

use std::time::Duration;

use weir_api::xds::envoy::extensions::filters::http::jwt_authn::v3::{
    self as pb, jwt_provider::JwksSourceSpecifier,
};

use super::{
    super::super::{
        at::{At, take},
        matcher::string_matcher,
        value::{duration, header_name, inline_text, non_empty},
    },
    owned,
};
use crate::{
    config::http_filter::jwt_authn::{
        ClaimToHeader, JwtCache, JwtLocation, JwtOutputs, JwtPlace, JwtProvider,
    },
    jwt::{KeySet, MAX_KEY_SET},
};

/// By how much clocks may differ where nothing is said; Envoy's.
const CLOCK_SKEW: u32 = 60;
/// Tokens that are remembered where nothing is said; Envoy's.
const CACHE_SIZE: u32 = 100;
/// Tokens that a worker may remember: each has some KiB.
const MAX_CACHE_SIZE: u32 = 10_000;
/// Bytes of a token that is remembered, where nothing is said; Envoy's.
const CACHED_TOKEN: u32 = 4096;

pub(super) fn provider(at: &At<'_>, name: &str, message: pb::JwtProvider) -> Option<JwtProvider> {
    take!(at, message => pb::JwtProvider {
        supported: issuer, audiences, subjects, require_expiration, max_lifetime, forward,
            from_headers, from_params, from_cookies, forward_payload_header,
            pad_forward_payload_header, payload_in_metadata, normalize_payload_in_metadata,
            header_in_metadata, failed_status_in_metadata, clock_skew_seconds, jwt_cache_config,
            claim_to_headers, clear_route_cache, jwks_source_specifier;
    });
    let keys = keys(at, jwks_source_specifier)?;
    let clock_skew = match clock_skew_seconds {
        0 => CLOCK_SKEW,
        seconds => seconds,
    };
    let subjects = subjects.and_then(|of| string_matcher(&at.field("subjects"), of));
    let forward_payload_header = match &*forward_payload_header {
        "" => String::new(),
        name => header_name(&at.field("forward_payload_header"), name),
    };
    let space_delimited_claims = match normalize_payload_in_metadata {
        None => Vec::new(),
        Some(message) => {
            let at = at.field("normalize_payload_in_metadata");
            take!(at, message => pb::jwt_provider::NormalizePayload {
                supported: space_delimited_claims;
            });
            space_delimited_claims
        }
    };
    Some(JwtProvider {
        name: name.to_owned(),
        audiences: audiences.iter().map(|audience| owned(audience)).collect(),
        subjects,
        require_expiration,
        max_lifetime: duration(&at.field("max_lifetime"), max_lifetime),
        clock_skew: Duration::from_secs(clock_skew.into()),
        keys,
        locations: locations(at, &issuer, from_headers, from_params, from_cookies),
        issuer,
        forward,
        outputs: JwtOutputs {
            forward_payload_header,
            pad_forward_payload_header,
            claim_to_headers: self::claim_to_headers(at, claim_to_headers),
            payload_in_metadata,
            space_delimited_claims,
            header_in_metadata,
            failed_status_in_metadata,
            clear_route_cache,
        },
        cache: jwt_cache_config.map(|message| cache(&at.field("jwt_cache_config"), message)),
    })
}

fn keys(at: &At<'_>, source: Option<JwksSourceSpecifier>) -> Option<KeySet> {
    let source = match at.field("local_jwks").required(source)? {
        JwksSourceSpecifier::LocalJwks(source) => source,
        JwksSourceSpecifier::RemoteJwks(_) => {
            at.field("remote_jwks")
                .unsupported("keys that the proxy fetches (only local_jwks are)");
            return None;
        }
    };
    let at = at.field("local_jwks");
    let text = inline_text(&at, source)?;
    if text.len() > MAX_KEY_SET {
        let length = text.len();
        at.error(format!("{length} bytes: must be at most {MAX_KEY_SET}"));
        return None;
    }
    KeySet::parse(&text).map_err(|reason| at.error(reason)).ok()
}

fn locations(
    at: &At<'_>,
    issuer: &str,
    headers: Vec<pb::JwtHeader>,
    params: Vec<String>,
    cookies: Vec<String>,
) -> Vec<JwtLocation> {
    let at_headers = at.field("from_headers");
    let headers = headers.into_iter().enumerate().map(|(index, message)| {
        let at = at_headers.index(index);
        take!(at, message => pb::JwtHeader { supported: name, value_prefix; });
        JwtPlace::Header {
            name: header_name(&at.field("name"), &name),
            value_prefix,
        }
    });
    let params = params.into_iter().map(JwtPlace::Param);
    let mut places: Vec<_> = headers
        .chain(params)
        .chain(cookies.into_iter().map(JwtPlace::Cookie))
        .collect();
    if places.is_empty() {
        places.push(JwtPlace::Header {
            name: "authorization".to_owned(),
            value_prefix: "Bearer ".to_owned(),
        });
        places.push(JwtPlace::Param("access_token".to_owned()));
    }
    places.sort();
    places.dedup();
    let issuers = Vec::from_iter((!issuer.is_empty()).then(|| issuer.to_owned()));
    let location = |place| JwtLocation {
        place,
        issuers: issuers.clone(),
    };
    places.into_iter().map(location).collect()
}

/// Where tokens of any of the providers stand.
pub(super) fn of_all(providers: &[JwtProvider]) -> Vec<JwtLocation> {
    let mut all: Vec<JwtLocation> = Vec::new();
    for location in providers.iter().flat_map(|provider| &provider.locations) {
        match all.iter_mut().find(|known| known.place == location.place) {
            None => all.push(location.clone()),
            // Of anyone stays of anyone.
            Some(known) if known.issuers.is_empty() => {}
            Some(known) if location.issuers.is_empty() => known.issuers.clear(),
            Some(known) => known.issuers.extend(location.issuers.iter().cloned()),
        }
    }
    all.sort_by(|one, other| one.place.cmp(&other.place));
    all
}

fn claim_to_headers(at: &At<'_>, messages: Vec<pb::JwtClaimToHeader>) -> Vec<ClaimToHeader> {
    let at = at.field("claim_to_headers");
    let messages = messages.into_iter().enumerate();
    messages
        .map(|(index, message)| {
            let at = at.index(index);
            take!(at, message => pb::JwtClaimToHeader {
                supported: header_name, claim_name, claim_path;
            });
            let header = self::header_name(&at.field("header_name"), &header_name);
            let path = match (claim_name.is_empty(), claim_path.is_empty()) {
                (false, true) => claim_name.split('.').map(str::to_owned).collect(),
                (true, false) => claim_path.into_iter().map(|of| key(&at, of)).collect(),
                _ => {
                    at.error("exactly one of claim_name and claim_path must be set");
                    Vec::new()
                }
            };
            ClaimToHeader { header, path }
        })
        .collect()
}

fn key(at: &At<'_>, message: pb::jwt_claim_to_header::PathSegment) -> String {
    take!(at, message => pb::jwt_claim_to_header::PathSegment { supported: key; });
    non_empty(&at.field("claim_path"), key)
}

fn cache(at: &At<'_>, message: pb::JwtCacheConfig) -> JwtCache {
    take!(at, message => pb::JwtCacheConfig { supported: jwt_cache_size, jwt_max_token_size; });
    if jwt_cache_size > MAX_CACHE_SIZE {
        at.field("jwt_cache_size").error(format!(
            "{jwt_cache_size}: must be at most {MAX_CACHE_SIZE}"
        ));
    }
    let or = |value, default| if value == 0 { default } else { value };
    JwtCache {
        size: or(jwt_cache_size, CACHE_SIZE),
        max_token_size: or(jwt_max_token_size, CACHED_TOKEN),
    }
}
