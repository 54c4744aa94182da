//! Which requests a route serves.

use weir_api::xds::envoy::{config::route::v3 as pb, r#type::matcher::v3 as matcher_v3};

use super::{
    at::{At, take},
    matcher::{Anchor, regex, string_matcher},
    percent::runtime_percent,
    value::{header_name, non_empty},
};
use crate::config::{
    matcher::{StringMatcher, StringPattern},
    route::{HeaderCondition, HeaderMatcher, PathMatch, QueryParameterMatcher, RouteMatch},
};

/// Envoy's bound on the name of a query parameter, bytes.
const MAX_PARAMETER_NAME: usize = 1024;

pub(super) fn route_match(at: &At<'_>, message: pb::RouteMatch) -> Option<RouteMatch> {
    take!(at, message => pb::RouteMatch {
        supported: case_sensitive, runtime_fraction, headers, query_parameters, grpc,
            path_specifier;
        refused: cookies, tls_context, dynamic_metadata, filter_state;
    });
    let at_headers = at.field("headers");
    let headers = headers.into_iter().enumerate();
    let headers = headers
        .filter_map(|(index, message)| header_matcher(&at_headers.index(index), message))
        .collect();
    let at_query = at.field("query_parameters");
    let query = query_parameters.into_iter().enumerate();
    let query = query
        .filter_map(|(index, message)| query_parameter(&at_query.index(index), message))
        .collect();
    Some(RouteMatch {
        fraction: runtime_fraction
            .and_then(|message| runtime_percent(&at.field("runtime_fraction"), message)),
        path: path(at, path_specifier)?,
        case_sensitive: case_sensitive.is_none_or(|sensitive| sensitive.value),
        headers,
        query,
        grpc: grpc.is_some(),
    })
}

fn path(at: &At<'_>, specifier: Option<pb::route_match::PathSpecifier>) -> Option<PathMatch> {
    use pb::route_match::PathSpecifier;

    match specifier {
        Some(PathSpecifier::Prefix(prefix)) => Some(PathMatch::Prefix(prefix)),
        Some(PathSpecifier::Path(path)) => Some(PathMatch::Path(path)),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            let sound = prefix.len() > 1 && !prefix.contains(['?', '#']) && !prefix.ends_with('/');
            if !sound {
                let at = at.field("path_separated_prefix");
                at.error(format!(
                    "{prefix:?}: must not hold ? or #, nor end in /, nor be short"
                ));
            }
            Some(PathMatch::PathSeparatedPrefix(prefix))
        }
        Some(PathSpecifier::SafeRegex(message)) => {
            regex(&at.field("safe_regex"), message, &Anchor::Whole).map(PathMatch::Regex)
        }
        Some(PathSpecifier::ConnectMatcher(pb::route_match::ConnectMatcher {})) => {
            Some(PathMatch::Connect)
        }
        Some(PathSpecifier::PathMatchPolicy(policy)) => {
            at.field("path_match_policy").unsupported(policy.name);
            None
        }
        None => {
            at.error("prefix, path, path_separated_prefix or safe_regex is required");
            None
        }
    }
}

pub(super) fn header_matcher(at: &At<'_>, message: pb::HeaderMatcher) -> Option<HeaderMatcher> {
    take!(at, message => pb::HeaderMatcher {
        supported: name, invert_match, treat_missing_header_as_empty, header_match_specifier;
    });
    Some(HeaderMatcher {
        name: header_name(&at.field("name"), &name),
        condition: condition(at, header_match_specifier)?,
        invert: invert_match,
        treat_missing_as_empty: treat_missing_header_as_empty,
    })
}

fn condition(
    at: &At<'_>,
    specifier: Option<pb::header_matcher::HeaderMatchSpecifier>,
) -> Option<HeaderCondition> {
    use pb::header_matcher::HeaderMatchSpecifier as Specifier;

    let text = |name: &str, text: String| non_empty(&at.field(name), text);
    // What string_match replaced is still taken by Envoy.
    #[allow(deprecated)]
    let pattern = match specifier {
        None => return Some(HeaderCondition::Present(true)),
        Some(Specifier::PresentMatch(present)) => return Some(HeaderCondition::Present(present)),
        Some(Specifier::RangeMatch(range)) => {
            return Some(HeaderCondition::Range {
                start: range.start,
                end: range.end,
            });
        }
        Some(Specifier::StringMatch(message)) => {
            return string_matcher(&at.field("string_match"), message).map(HeaderCondition::Value);
        }
        Some(Specifier::ExactMatch(exact)) => StringPattern::Exact(exact),
        Some(Specifier::PrefixMatch(prefix)) => StringPattern::Prefix(text("prefix_match", prefix)),
        Some(Specifier::SuffixMatch(suffix)) => StringPattern::Suffix(text("suffix_match", suffix)),
        Some(Specifier::ContainsMatch(part)) => {
            StringPattern::Contains(text("contains_match", part))
        }
        Some(Specifier::SafeRegexMatch(message)) => {
            let message: matcher_v3::RegexMatcher = message;
            StringPattern::Regex(regex(
                &at.field("safe_regex_match"),
                message,
                &Anchor::Whole,
            )?)
        }
    };
    Some(HeaderCondition::Value(StringMatcher {
        pattern,
        ignore_case: false,
    }))
}

fn query_parameter(
    at: &At<'_>,
    message: pb::QueryParameterMatcher,
) -> Option<QueryParameterMatcher> {
    use pb::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;

    take!(at, message => pb::QueryParameterMatcher {
        supported: name, query_parameter_match_specifier;
    });
    let name = non_empty(&at.field("name"), name);
    if name.len() > MAX_PARAMETER_NAME {
        at.field("name")
            .error(format!("must be at most {MAX_PARAMETER_NAME} bytes"));
    }
    let value = match query_parameter_match_specifier {
        None | Some(Specifier::PresentMatch(true)) => None,
        Some(Specifier::PresentMatch(false)) => {
            at.field("present_match").unsupported("false");
            None
        }
        Some(Specifier::StringMatch(message)) => {
            Some(string_matcher(&at.field("string_match"), message)?)
        }
    };
    Some(QueryParameterMatcher { name, value })
}
