//! Conditions on requests.

use std::collections::BTreeSet;

use super::{edits::header_name, fault::Faults, method, path, wire};
use crate::{
    model::{PathMatch, Rank, RequestMatch, SourceMatch, Text, ValueMatch},
    rules::Place,
};

/// Methods that the specification knows.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// A condition that all requests fulfil.
pub(super) fn any(place: &Place<'_>) -> RequestMatch {
    let path = PathMatch::Prefix(place.names.text(""));
    RequestMatch {
        rank: Rank::of_http(&path, None, &[], &[]),
        path,
        headers: Vec::new(),
        query: Vec::new(),
        method: None,
        ignores_case: false,
        source: SourceMatch::default(),
    }
}

pub(super) fn http(
    at: &str,
    said: &wire::HttpMatch,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<RequestMatch> {
    let path = path::path_match(&format!("{at}.path"), said.path.as_ref(), place, faults);
    let headers = headers(at, &said.headers, place, faults);
    let query = said.query_params.iter().flatten().enumerate();
    let query = query.map(|(index, said)| {
        let at = format!("{at}.queryParams[{index}]");
        if said.name.is_empty() {
            faults.malformed(&format!("{at}.name"), "is empty: name the parameter");
        }
        Some(ValueMatch {
            name: place.names.text(&said.name),
            value: text(&at, said, place, faults)?,
            inverted: false,
        })
    });
    let query = query.collect::<Option<Vec<_>>>();
    let method = said.method.as_deref().map(|method| {
        let known = METHODS.contains(&method);
        if !known {
            let reason = format!("{method:?} is none of {}", METHODS.join(", "));
            faults.unsupported(&format!("{at}.method"), reason);
        }
        known.then(|| place.names.text(method))
    });
    let method = method.map_or(Some(None), |method| method.map(Some));
    let (path, headers, query, method) = (path?, headers?, first_of_each(query?), method?);
    Some(RequestMatch {
        rank: Rank::of_http(&path, method.as_deref(), &headers, &query),
        path,
        headers,
        query,
        method,
        ignores_case: false,
        source: SourceMatch::default(),
    })
}

pub(super) fn grpc(
    at: &str,
    said: &wire::GrpcMatch,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<RequestMatch> {
    let headers = headers(at, &said.headers, place, faults);
    let called = said.method.as_ref();
    let path = match called {
        None => Some(PathMatch::Prefix(place.names.text(""))),
        Some(said) => method::called(&format!("{at}.method"), said, place, faults),
    };
    let part = |part: fn(&wire::GrpcMethod) -> &Option<String>| {
        called
            .and_then(|it| part(it).as_deref())
            .unwrap_or_default()
    };
    let (path, headers) = (path?, headers?);
    Some(RequestMatch {
        rank: Rank::of_grpc(part(|it| &it.service), part(|it| &it.method), &headers),
        path,
        headers,
        query: Vec::new(),
        method: None,
        ignores_case: false,
        source: SourceMatch::default(),
    })
}

fn headers(
    at: &str,
    said: &Option<Vec<wire::NamedValue>>,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<Vec<ValueMatch>> {
    let all = said.iter().flatten().enumerate();
    let all = all.map(|(index, said)| {
        let at = format!("{at}.headers[{index}]");
        let name = header_name(&format!("{at}.name"), &said.name, faults);
        let value = text(&at, said, place, faults);
        Some(ValueMatch {
            name: place.names.text(&name?),
            value: value?,
            inverted: false,
        })
    });
    // Each is looked at, so that everything that is wrong is said at once.
    let all: Vec<_> = all.collect();
    all.into_iter().collect::<Option<_>>().map(first_of_each)
}

fn text(at: &str, said: &wire::NamedValue, place: &Place<'_>, faults: &mut Faults) -> Option<Text> {
    let value = place.names.text(&said.value);
    match said.kind.as_deref().unwrap_or("Exact") {
        "Exact" => Some(Text::Exact(value)),
        "RegularExpression" => {
            path::regex(&format!("{at}.value"), &said.value, faults).then_some(Text::Regex(value))
        }
        other => {
            let reason = format!("{other:?} is neither Exact nor RegularExpression");
            faults.unsupported(&format!("{at}.type"), reason);
            None
        }
    }
}

/// Of several conditions on one name the first counts, as the specification says.
fn first_of_each(mut all: Vec<ValueMatch>) -> Vec<ValueMatch> {
    let mut seen = BTreeSet::new();
    all.retain(|it| seen.insert(it.name.clone()));
    all
}
