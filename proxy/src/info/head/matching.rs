//! Conditions on a request's header.

use super::RequestHead;
use crate::config::route::{HeaderCondition, HeaderMatcher};

/// Envoy's rule: a condition holds if it holds for one line of the field, and inverted if it holds
/// for none.
pub(crate) fn header_matches(matcher: &HeaderMatcher, request: &dyn RequestHead) -> bool {
    let condition = &matcher.condition;
    let (mut is_there, mut any) = (false, false);
    request.any_value(&matcher.name, &mut |value| {
        is_there = true;
        any = value_matches(condition, value);
        any
    });
    if !is_there && matcher.treat_missing_as_empty {
        (is_there, any) = (true, value_matches(condition, ""));
    }
    match condition {
        HeaderCondition::Present(wanted) => (is_there == *wanted) != matcher.invert,
        // A header that is not there does not match, and inverted it still does not, as in Envoy.
        _ => is_there && any != matcher.invert,
    }
}

fn value_matches(condition: &HeaderCondition, value: &str) -> bool {
    match condition {
        HeaderCondition::Present(_) => true,
        HeaderCondition::Value(matcher) => matcher.matches(value),
        HeaderCondition::Range { start, end } => value
            .parse::<i64>()
            .is_ok_and(|number| (*start..*end).contains(&number)),
    }
}
