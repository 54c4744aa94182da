//! Metadata, and conditions on it and on filter state.

use weir_api::xds::envoy::{
    config::core::v3::{self as core, CidrRange},
    r#type::{
        matcher::v3::{
            self as pb, double_matcher, filter_state_matcher::Matcher, list_matcher,
            metadata_matcher::path_segment::Segment, value_matcher::MatchPattern,
        },
        v3::DoubleRange,
    },
};

use super::{
    at::{At, take},
    matcher::string_matcher,
    value::{cidr_ranges, json_object, non_empty},
};
use crate::{
    config::metadata::{FilterStateCondition, FilterStateMatcher, MetadataMatcher, ValueMatcher},
    metadata::Metadata,
};

/// What the configuration says of a route. Typed metadata is for extensions of Envoy's.
pub(super) fn metadata(message: Option<core::Metadata>) -> Metadata {
    let mut metadata = Metadata::default();
    let namespaces = message
        .into_iter()
        .flat_map(|message| message.filter_metadata);
    for (namespace, values) in namespaces {
        metadata.merge(&namespace, json_object(values));
    }
    metadata
}

pub(super) fn metadata_matcher(
    at: &At<'_>,
    message: pb::MetadataMatcher,
) -> Option<MetadataMatcher> {
    take!(at, message => pb::MetadataMatcher { supported: filter, path, value, invert; });
    let at_path = at.field("path");
    if path.is_empty() {
        at_path.error("must not be empty");
    }
    let path = path.into_iter().enumerate();
    let path = path.filter_map(|(index, message)| {
        let at = at_path.index(index);
        let at = at.field("key");
        let Segment::Key(key) = at.required(message.segment)?;
        Some(non_empty(&at, key))
    });
    let at_value = at.field("value");
    Some(MetadataMatcher {
        filter: non_empty(&at.field("filter"), filter),
        path: path.collect(),
        value: value_matcher(&at_value, at_value.required(value)?)?,
        invert,
    })
}

fn value_matcher(at: &At<'_>, message: pb::ValueMatcher) -> Option<ValueMatcher> {
    take!(at, message => pb::ValueMatcher { supported: match_pattern; });
    Some(match at.required(match_pattern)? {
        MatchPattern::NullMatch(pb::value_matcher::NullMatch {}) => ValueMatcher::Null,
        MatchPattern::DoubleMatch(message) => {
            let at = at.field("double_match");
            match at.required(message.match_pattern)? {
                double_matcher::MatchPattern::Exact(number) => ValueMatcher::Number(number),
                double_matcher::MatchPattern::Range(DoubleRange { start, end }) => {
                    ValueMatcher::Range { start, end }
                }
            }
        }
        MatchPattern::StringMatch(message) => {
            ValueMatcher::Text(string_matcher(&at.field("string_match"), message)?)
        }
        MatchPattern::BoolMatch(wanted) => ValueMatcher::Bool(wanted),
        MatchPattern::PresentMatch(wanted) => ValueMatcher::Present(wanted),
        MatchPattern::ListMatch(message) => {
            let at = at.field("list_match");
            let at = at.field("one_of");
            let list_matcher::MatchPattern::OneOf(message) = at.required(message.match_pattern)?;
            ValueMatcher::OneOfList(Box::new(value_matcher(&at, *message)?))
        }
        MatchPattern::OrMatch(message) => {
            let at = at.field("or_match");
            let at = at.field("value_matchers");
            if message.value_matchers.len() < 2 {
                at.error("must have at least 2");
            }
            let matchers = message.value_matchers.into_iter().enumerate();
            let matchers =
                matchers.filter_map(|(index, message)| value_matcher(&at.index(index), message));
            ValueMatcher::Or(matchers.collect())
        }
    })
}

pub(super) fn filter_state_matcher(
    at: &At<'_>,
    message: pb::FilterStateMatcher,
) -> Option<FilterStateMatcher> {
    take!(at, message => pb::FilterStateMatcher { supported: key, matcher; });
    let condition = match at.field("string_match").required(matcher)? {
        Matcher::StringMatch(message) => {
            FilterStateCondition::Text(string_matcher(&at.field("string_match"), message)?)
        }
        Matcher::AddressMatch(message) => {
            let at = at.field("address_match");
            take!(at, message => pb::AddressMatcher { supported: ranges, invert_match; });
            let ranges = ranges.into_iter().map(|range| CidrRange {
                address_prefix: range.address_prefix,
                prefix_len: range.prefix_len,
            });
            FilterStateCondition::Address {
                ranges: cidr_ranges(&at.field("ranges"), ranges.collect()),
                invert: invert_match,
            }
        }
    };
    Some(FilterStateMatcher {
        key: non_empty(&at.field("key"), key),
        condition,
    })
}
