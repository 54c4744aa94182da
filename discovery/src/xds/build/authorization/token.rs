//! What holds of a request's token, of which the filter that has checked it says the payload.

use weir_api::xds::envoy::{
    config::rbac::v3::{MetadataSource, Principal, SourcedMetadata, principal},
    r#type::matcher::v3::{
        ListMatcher, MetadataMatcher, OrMatcher, ValueMatcher, list_matcher,
        metadata_matcher::{PathSegment, path_segment::Segment},
        value_matcher::MatchPattern,
    },
};

use super::{
    super::tokens::{FILTER, PAYLOAD},
    expression::{Expression, text},
};
use crate::model::Value;

/// That `ISSUER/SUBJECT` is that. Either may have slashes, so that each of them may be the one
/// between; a token with one of the two alone has no principal.
pub(super) fn principal(value: &Value) -> Principal {
    let both = |issuer: &Value, subject: &Value| {
        Principal::all(vec![
            has(&["iss"], MatchPattern::StringMatch(text(issuer))),
            has(&["sub"], MatchPattern::StringMatch(text(subject))),
        ])
    };
    let parts = |text: &str| {
        let slashes = text.match_indices('/');
        let parts = slashes.map(|(at, _)| (text[..at].to_owned(), text[at + 1..].to_owned()));
        parts.collect::<Vec<_>>()
    };
    let exact = |text: &str| match text {
        "" => Value::Present,
        text => Value::Exact(text.into()),
    };
    let alternatives: Vec<_> = match value {
        Value::Exact(text) => {
            let parts = parts(text).into_iter();
            let parts = parts.filter(|(issuer, subject)| !issuer.is_empty() && !subject.is_empty());
            parts
                .map(|(issuer, subject)| both(&exact(&issuer), &exact(&subject)))
                .collect()
        }
        Value::Prefix(text) => {
            let begins = |text: String| match &*text {
                "" => Value::Present,
                _ => Value::Prefix(text.into()),
            };
            let parts = parts(text)
                .into_iter()
                .filter(|(issuer, _)| !issuer.is_empty());
            let split = parts.map(|(issuer, subject)| both(&exact(&issuer), &begins(subject)));
            let whole = both(&Value::Prefix(text.clone()), &Value::Present);
            split.chain([whole]).collect()
        }
        Value::Suffix(text) => {
            let ends = |text: String| match &*text {
                "" => Value::Present,
                _ => Value::Suffix(text.into()),
            };
            let parts = parts(text)
                .into_iter()
                .filter(|(_, subject)| !subject.is_empty());
            let split = parts.map(|(issuer, subject)| both(&ends(issuer), &exact(&subject)));
            let whole = both(&Value::Present, &Value::Suffix(text.clone()));
            split.chain([whole]).collect()
        }
        _ => vec![both(&Value::Present, &Value::Present)],
    };
    match alternatives.is_empty() {
        // What has no slash is nobody.
        true => Principal::not(Principal::any()),
        false => Principal::any_of(alternatives),
    }
}

/// That a claim, or an entry of a list that it is, is that.
pub(super) fn claim(path: &[impl AsRef<str>], value: &Value) -> Principal {
    let pattern = |pattern| ValueMatcher {
        match_pattern: Some(pattern),
    };
    let alone = || pattern(MatchPattern::StringMatch(text(value)));
    let in_list = pattern(MatchPattern::ListMatch(Box::new(ListMatcher {
        match_pattern: Some(list_matcher::MatchPattern::OneOf(Box::new(alone()))),
    })));
    let either = MatchPattern::OrMatch(OrMatcher {
        value_matchers: vec![alone(), in_list],
    });
    has(path, either)
}

/// That the value at the end of a way through the payload is such.
fn has(path: &[impl AsRef<str>], pattern: MatchPattern) -> Principal {
    let keys = [PAYLOAD].into_iter().chain(path.iter().map(AsRef::as_ref));
    let matcher = MetadataMatcher {
        filter: FILTER.to_owned(),
        path: keys
            .map(|key| PathSegment {
                segment: Some(Segment::Key(key.to_owned())),
            })
            .collect(),
        value: Some(ValueMatcher {
            match_pattern: Some(pattern),
        }),
        invert: false,
    };
    Principal {
        identifier: Some(principal::Identifier::SourcedMetadata(SourcedMetadata {
            metadata_matcher: Some(matcher),
            metadata_source: MetadataSource::Dynamic.into(),
        })),
    }
}
