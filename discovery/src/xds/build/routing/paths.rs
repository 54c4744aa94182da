//! What becomes of a path, in Envoy's terms.

use weir_api::xds::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};

use crate::model::{PathChange, PathMatch};

/// How a path is changed.
pub(super) enum Changed {
    /// What matched becomes this.
    Prefix(String),
    /// What matches becomes something else.
    Regex(Box<RegexMatchAndSubstitute>),
}

/// The change of a path that matched; none if it stays as it is.
///
/// Envoy replaces what matched as it is written. So a slash goes where one would be missing, and where
/// nothing is left of the prefix the slashes behind it become the one at the beginning.
pub(super) fn changed(change: &PathChange, matched: &PathMatch) -> Option<Changed> {
    let prefix = match matched {
        PathMatch::Prefix(prefix) => prefix,
        PathMatch::Exact(_) | PathMatch::Start(_) | PathMatch::Regex(_) => "",
    };
    match change {
        PathChange::Whole(path) => Some(regex("^/.*$", path)),
        PathChange::Start(to) => Some(Changed::Prefix(to.to_string())),
        PathChange::Regex(pattern, to) => Some(regex(pattern, to)),
        PathChange::Prefix(to) => match (prefix, &**to) {
            ("", "") => None,
            ("", to) => Some(Changed::Prefix(format!("{to}/"))),
            (from, "") => Some(regex(&format!("^{}/*", regex::escape(from)), "/")),
            (_, to) => Some(Changed::Prefix(to.to_owned())),
        },
    }
}

fn regex(pattern: &str, substitution: &str) -> Changed {
    Changed::Regex(Box::new(RegexMatchAndSubstitute {
        pattern: Some(RegexMatcher {
            regex: pattern.to_owned(),
            ..RegexMatcher::default()
        }),
        substitution: substitution.to_owned(),
    }))
}
