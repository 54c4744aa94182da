//! Conditions on requests.

use weir_api::xds::envoy::{
    config::route::v3::{
        HeaderMatcher, QueryParameterMatcher, RouteMatch,
        header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier,
        route_match::{ConnectMatcher, PathSpecifier},
    },
    r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
};

use crate::{
    model::{PathMatch, RequestMatch, Text, ValueMatch},
    xds::build::{boolean, route::of_method},
};

/// None: no request can fulfil it.
pub(super) fn criteria(one: &RequestMatch) -> Option<RouteMatch> {
    let headers = one.headers.iter().map(|it| HeaderMatcher {
        // What is asked for is no header here.
        name: match &*it.name {
            "host" => ":authority".to_owned(),
            name => name.to_owned(),
        },
        header_match_specifier: Some(match text(&it.value) {
            Some(text) => HeaderMatchSpecifier::StringMatch(text),
            None => HeaderMatchSpecifier::PresentMatch(true),
        }),
        invert_match: it.inverted,
        treat_missing_header_as_empty: it.inverted && it.value != Text::Present,
    });
    let method = one.method.as_deref();
    // Whoever asks for a tunnel names no path.
    let is_tunnel = method == Some("CONNECT");
    let method = method.filter(|_| !is_tunnel).map(of_method);
    let query = one
        .query
        .iter()
        .map(|it: &ValueMatch| QueryParameterMatcher {
            name: it.name.to_string(),
            query_parameter_match_specifier: Some(match text(&it.value) {
                Some(text) => QueryParameterMatchSpecifier::StringMatch(text),
                None => QueryParameterMatchSpecifier::PresentMatch(true),
            }),
        });
    let path = match (&one.path, is_tunnel) {
        (PathMatch::Prefix(prefix), true) if prefix.is_empty() => {
            PathSpecifier::ConnectMatcher(ConnectMatcher {})
        }
        (_, true) => return None,
        (PathMatch::Exact(path), false) => PathSpecifier::Path(path.to_string()),
        (PathMatch::Prefix(prefix), false) if prefix.is_empty() => {
            PathSpecifier::Prefix("/".to_owned())
        }
        (PathMatch::Prefix(prefix), false) => {
            PathSpecifier::PathSeparatedPrefix(prefix.to_string())
        }
        (PathMatch::Start(start), false) if start.is_empty() => {
            PathSpecifier::Prefix("/".to_owned())
        }
        (PathMatch::Start(start), false) => PathSpecifier::Prefix(start.to_string()),
        (PathMatch::Regex(expression), false) => PathSpecifier::SafeRegex(regex(expression)),
    };
    Some(RouteMatch {
        path_specifier: Some(path),
        headers: method.into_iter().chain(headers).collect(),
        query_parameters: query.collect(),
        case_sensitive: one.ignores_case.then(|| boolean(false)),
        ..RouteMatch::default()
    })
}

/// A text as Envoy compares it. None: it is not compared, but has to be there.
pub(super) fn text(text: &Text) -> Option<StringMatcher> {
    let pattern = match text {
        Text::Exact(text) => MatchPattern::Exact(text.to_string()),
        Text::Prefix(text) => MatchPattern::Prefix(text.to_string()),
        Text::Regex(expression) => MatchPattern::SafeRegex(regex(expression)),
        Text::Present => return None,
    };
    Some(StringMatcher {
        match_pattern: Some(pattern),
        ..StringMatcher::default()
    })
}

fn regex(expression: &str) -> RegexMatcher {
    RegexMatcher {
        regex: expression.to_owned(),
        ..RegexMatcher::default()
    }
}
