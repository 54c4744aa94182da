//! `envoy.type.matcher.v3`: how strings are compared.

use regex::Regex;

/// `StringMatcher`
#[derive(Debug, Clone)]
pub struct StringMatcher {
    /// What is compared with.
    pub pattern: StringPattern,
    /// ASCII case does not count. Never with a regular expression.
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatcher`].
#[derive(Debug, Clone)]
pub enum StringPattern {
    /// The whole value.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// Any part of it.
    Contains(String),
    /// The whole value, against an RE2 expression (`regex` reads the same language).
    Regex(Regex),
}

// === impl StringMatcher ===

impl StringMatcher {
    /// Whether `value` matches.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let fold = self.ignore_case;
        match &self.pattern {
            StringPattern::Exact(exact) if fold => value.eq_ignore_ascii_case(exact),
            StringPattern::Exact(exact) => value == exact,
            StringPattern::Prefix(prefix) => {
                let head = value.as_bytes().get(..prefix.len());
                head.is_some_and(|head| same(head, prefix.as_bytes(), fold))
            }
            StringPattern::Suffix(suffix) => {
                let start = value.len().checked_sub(suffix.len());
                start.is_some_and(|start| same(&value.as_bytes()[start..], suffix.as_bytes(), fold))
            }
            StringPattern::Contains(part) if fold => value
                .to_ascii_lowercase()
                .contains(&part.to_ascii_lowercase()),
            StringPattern::Contains(part) => value.contains(part.as_str()),
            StringPattern::Regex(regex) => matches_whole(regex, value),
        }
    }
}

/// Whether the expression matches all of `value`, as RE2's `FullMatch` does. The converter anchors
/// expressions as `^(?:..)$` when it compiles them, so a plain match is a full one.
#[must_use]
pub fn matches_whole(regex: &Regex, value: &str) -> bool {
    regex.is_match(value)
}

fn same(left: &[u8], right: &[u8], ignore_case: bool) -> bool {
    if ignore_case {
        left.eq_ignore_ascii_case(right)
    } else {
        left == right
    }
}
