//! `envoy.filters.http.jwt_authn`.

mod provider;

use std::collections::HashMap;

use weir_api::xds::{
    codec,
    envoy::extensions::filters::http::jwt_authn::v3::{
        self as pb, jwt_requirement::RequiresType, per_route_config::RequirementSpecifier,
        requirement_rule::RequirementType,
    },
    google::protobuf::Any,
};

use super::super::{
    at::{At, take},
    route_match::route_match,
    value::{non_empty, unpack},
};
use crate::config::http_filter::{
    HttpFilterConfig, RouteSpecificFilterConfig,
    jwt_authn::{
        Allowance, FilterStateRule, JwtAuthn, JwtPerRoute, JwtProvider, JwtRequirement,
        RequirementRef, RequirementRule, comparable_audience,
    },
};

/// Requirements in requirements. Deeper ones nobody writes, and reading them must end.
const MAX_DEPTH: usize = 16;

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_jwt_authentication)?;
    take!(at, message => pb::JwtAuthentication {
        supported: providers, rules, filter_state_rules, bypass_cors_preflight, requirement_map,
            strip_failure_response, stat_prefix;
    });
    let providers = self::providers(&at.field("providers"), providers);
    let requirement_map =
        requirements_by_name(&at.field("requirement_map"), requirement_map, &providers);
    let at_rules = at.field("rules");
    let rules = rules
        .into_iter()
        .enumerate()
        .filter_map(|(index, message)| {
            let at = at_rules.index(index);
            rule(&at, message, &providers, &requirement_map)
        });
    let rules = rules.collect();
    let at_state = at.field("filter_state_rules");
    let filter_state_rules = filter_state_rules.map(|message| {
        take!(at_state, message => pb::FilterStateRule { supported: name, requires; });
        FilterStateRule {
            name: non_empty(&at_state.field("name"), name),
            requires: requirements_by_name(&at_state.field("requires"), requires, &providers),
        }
    });
    Some(HttpFilterConfig::JwtAuthn(Box::new(JwtAuthn {
        locations: provider::of_all(&providers),
        providers,
        rules,
        requirement_map,
        filter_state_rules,
        bypass_cors_preflight,
        strip_failure_response,
        stat_prefix,
    })))
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_jwt_authn_per_route)?;
    take!(at, message => pb::PerRouteConfig { supported: requirement_specifier; });
    let config = match at
        .field("requirement_specifier")
        .required(requirement_specifier)?
    {
        RequirementSpecifier::Disabled(true) => JwtPerRoute::Disabled,
        RequirementSpecifier::Disabled(false) => {
            at.field("disabled").error("must be true");
            return None;
        }
        RequirementSpecifier::RequirementName(name) => {
            JwtPerRoute::RequirementName(non_empty(&at.field("requirement_name"), name))
        }
    };
    Some(RouteSpecificFilterConfig::JwtAuthn(config))
}

fn providers(at: &At<'_>, messages: HashMap<String, pb::JwtProvider>) -> Vec<JwtProvider> {
    let mut messages: Vec<_> = messages.into_iter().collect();
    messages.sort_by(|(one, _), (other, _)| one.cmp(other));
    let messages = messages.into_iter();
    messages
        .filter_map(|(name, message)| provider::provider(&at.key(&name), &name, message))
        .collect()
}

fn requirements_by_name(
    at: &At<'_>,
    messages: HashMap<String, pb::JwtRequirement>,
    providers: &[JwtProvider],
) -> Vec<(String, JwtRequirement)> {
    let mut messages: Vec<_> = messages.into_iter().collect();
    messages.sort_by(|(one, _), (other, _)| one.cmp(other));
    let messages = messages.into_iter().filter_map(|(name, message)| {
        let requirement = requirement(&at.key(&name), message, providers, 0)?;
        Some((name, requirement))
    });
    messages.collect()
}

fn rule(
    at: &At<'_>,
    message: pb::RequirementRule,
    providers: &[JwtProvider],
    named: &[(String, JwtRequirement)],
) -> Option<RequirementRule> {
    take!(at, message => pb::RequirementRule { supported: r#match, requirement_type; });
    let at_match = at.field("match");
    let criteria = at_match.required(r#match)?;
    // Envoy looks at path, headers and query alone here; to pass over the rest would guard more or
    // less than what is written.
    at_match.refuse_field("grpc", &criteria.grpc);
    at_match.refuse_field("runtime_fraction", &criteria.runtime_fraction);
    let requirement = match requirement_type {
        None => None,
        Some(RequirementType::Requires(message)) => {
            let requirement = requirement(&at.field("requires"), message, providers, 0)?;
            Some(RequirementRef::Here(requirement))
        }
        Some(RequirementType::RequirementName(name)) => {
            let found = named.iter().position(|(known, _)| *known == name);
            if found.is_none() {
                let at = at.field("requirement_name");
                at.error(format!("{name:?}: not in requirement_map"));
            }
            Some(RequirementRef::Named(found?))
        }
    };
    Some(RequirementRule {
        criteria: route_match(&at_match, criteria)?,
        requirement,
    })
}

fn requirement(
    at: &At<'_>,
    message: pb::JwtRequirement,
    providers: &[JwtProvider],
    depth: usize,
) -> Option<JwtRequirement> {
    if depth > MAX_DEPTH {
        at.unsupported(format!("requirements more than {MAX_DEPTH} deep"));
        return None;
    }
    take!(at, message => pb::JwtRequirement { supported: requires_type; });
    let list = |name: &str, messages: Vec<pb::JwtRequirement>| {
        let at = at.field(name);
        let at = at.field("requirements");
        if messages.len() < 2 {
            at.error("must have at least 2 entries");
        }
        let messages = messages.into_iter().enumerate();
        messages
            .filter_map(|(index, message)| {
                requirement(&at.index(index), message, providers, depth + 1)
            })
            .collect::<Vec<_>>()
    };
    Some(match requires_type {
        None => JwtRequirement::Nothing,
        Some(RequiresType::ProviderName(name)) => JwtRequirement::Provider {
            provider: index_of(&at.field("provider_name"), &name, providers)?,
            audiences: None,
        },
        Some(RequiresType::ProviderAndAudiences(message)) => {
            let at = at.field("provider_and_audiences");
            take!(at, message => pb::ProviderWithAudiences { supported: provider_name, audiences; });
            let audiences: Vec<_> = audiences.iter().map(|of| owned(of)).collect();
            JwtRequirement::Provider {
                provider: index_of(&at.field("provider_name"), &provider_name, providers)?,
                audiences: Some(audiences).filter(|audiences| !audiences.is_empty()),
            }
        }
        Some(RequiresType::RequiresAny(message)) => {
            let requirements = list("requires_any", message.requirements);
            any(requirements)
        }
        Some(RequiresType::RequiresAll(message)) => {
            JwtRequirement::All(list("requires_all", message.requirements))
        }
        Some(RequiresType::AllowMissing(_)) => JwtRequirement::Allow(Allowance::Missing),
        Some(RequiresType::AllowMissingOrFailed(_)) => {
            JwtRequirement::Allow(Allowance::MissingOrFailed)
        }
        Some(RequiresType::ExtractOnlyWithoutValidation(_)) => {
            at.field("extract_only_without_validation")
                .unsupported("claims of a token that nobody has checked");
            return None;
        }
    })
}

/// One of several, of which those that let something through count once, the most lenient.
fn any(requirements: Vec<JwtRequirement>) -> JwtRequirement {
    let mut allow = None;
    let mut others = Vec::new();
    for requirement in requirements {
        match requirement {
            JwtRequirement::Allow(allowance) => allow = allow.max(Some(allowance)),
            other => others.push(other),
        }
    }
    match (allow, others.is_empty()) {
        (Some(allowance), true) => JwtRequirement::Allow(allowance),
        (allow, _) => JwtRequirement::Any {
            requirements: others,
            allow,
        },
    }
}

fn index_of(at: &At<'_>, name: &str, providers: &[JwtProvider]) -> Option<usize> {
    let found = providers.iter().position(|known| known.name == name);
    if found.is_none() {
        at.error(format!("{name:?}: not in providers"));
    }
    found
}

fn owned(audience: &str) -> String {
    comparable_audience(audience).to_owned()
}
