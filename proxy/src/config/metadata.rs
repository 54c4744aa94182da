//! `envoy.type.matcher.v3`: conditions on dynamic metadata, on a route's metadata and on filter state.

use ipnet::IpNet;

use serde_json::Value;

use super::matcher::StringMatcher;
use crate::metadata::{FilterState, Metadata};

/// `envoy.config.rbac.v3.MetadataSource`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataSource {
    /// What filters said of the request and its connection.
    Dynamic,
    /// What the configuration says of the route.
    Route,
}

/// `MetadataMatcher`
#[derive(Debug)]
pub struct MetadataMatcher {
    /// Namespace.
    pub filter: String,
    /// Keys from the namespace's top down.
    pub path: Vec<String>,
    /// What must hold of the value there.
    pub value: ValueMatcher,
    /// The opposite must hold.
    pub invert: bool,
}

/// `ValueMatcher`
#[derive(Debug)]
pub enum ValueMatcher {
    /// `null_match`
    Null,
    /// `double_match.exact`
    Number(f64),
    /// `double_match.range`: from, up to and without.
    Range {
        /// Inclusive.
        start: f64,
        /// Exclusive.
        end: f64,
    },
    /// `string_match`
    Text(StringMatcher),
    /// `bool_match`
    Bool(bool),
    /// `present_match`
    Present(bool),
    /// `list_match.one_of`
    OneOfList(Box<ValueMatcher>),
    /// `or_match`
    Or(Vec<ValueMatcher>),
}

/// `FilterStateMatcher`
#[derive(Debug)]
pub struct FilterStateMatcher {
    /// Of the object.
    pub key: String,
    /// What must hold of it. One that is not there never matches.
    pub condition: FilterStateCondition,
}

/// What must hold of an object of the filter state.
#[derive(Debug)]
pub enum FilterStateCondition {
    /// `string_match`
    Text(StringMatcher),
    /// `address_match`: it is an address in one of these ranges.
    Address {
        /// The ranges.
        ranges: Vec<IpNet>,
        /// Or in none of them.
        invert: bool,
    },
}

// === impl MetadataMatcher ===

impl MetadataMatcher {
    /// Whether it holds.
    #[must_use]
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let value = metadata.value(&self.filter, &self.path);
        value.is_some_and(|value| self.value.matches(value)) != self.invert
    }
}

// === impl ValueMatcher ===

impl ValueMatcher {
    /// Whether it holds of a value that is there: as in Envoy, nothing holds of one that is not.
    fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, value) => value.is_null(),
            (Self::Present(wanted), _) => *wanted,
            (Self::Or(matchers), value) => matchers.iter().any(|matcher| matcher.matches(value)),
            (Self::Number(exact), Value::Number(number)) => number.as_f64() == Some(*exact),
            (Self::Range { start, end }, Value::Number(number)) => number
                .as_f64()
                .is_some_and(|number| (*start..*end).contains(&number)),
            (Self::Text(matcher), Value::String(text)) => matcher.matches(text),
            (Self::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Self::OneOfList(matcher), Value::Array(values)) => {
                values.iter().any(|value| matcher.matches(value))
            }
            _ => false,
        }
    }
}

// === impl FilterStateMatcher ===

impl FilterStateMatcher {
    /// Whether it holds.
    #[must_use]
    pub fn matches(&self, state: &FilterState) -> bool {
        let Some(object) = state.get(&self.key) else {
            return false;
        };
        match &self.condition {
            FilterStateCondition::Text(matcher) => matcher.matches(object),
            FilterStateCondition::Address { ranges, invert } => {
                let address = object.parse::<std::net::IpAddr>().ok();
                address.is_some_and(|ip| ranges.iter().any(|r| r.contains(&ip)) != *invert)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::matcher::StringPattern;

    fn prefix(text: &str) -> StringMatcher {
        StringMatcher {
            pattern: StringPattern::Prefix(text.to_owned()),
            ignore_case: false,
        }
    }

    #[test]
    fn matchers_hold_of_values_of_their_kind() {
        let mut metadata = Metadata::default();
        let values = json!({ "t": "abc", "n": 5, "b": true, "l": ["x", "abd"], "z": null });
        let Value::Object(values) = values else {
            panic!("an object")
        };
        metadata.merge("f", values);
        let cases = [
            ("t", ValueMatcher::Text(prefix("ab")), true),
            ("n", ValueMatcher::Text(prefix("5")), false),
            ("n", ValueMatcher::Number(5.0), true),
            (
                "n",
                ValueMatcher::Range {
                    start: 1.0,
                    end: 5.0,
                },
                false,
            ),
            (
                "n",
                ValueMatcher::Range {
                    start: 5.0,
                    end: 6.0,
                },
                true,
            ),
            ("b", ValueMatcher::Bool(true), true),
            ("b", ValueMatcher::Bool(false), false),
            ("z", ValueMatcher::Null, true),
            ("t", ValueMatcher::Present(true), true),
            ("t", ValueMatcher::Present(false), false),
            ("none", ValueMatcher::Null, false),
            ("none", ValueMatcher::Present(false), false),
            (
                "l",
                ValueMatcher::OneOfList(Box::new(ValueMatcher::Text(prefix("ab")))),
                true,
            ),
            (
                "t",
                ValueMatcher::Or(vec![ValueMatcher::Null, ValueMatcher::Text(prefix("a"))]),
                true,
            ),
        ];
        for (key, value, expected) in cases {
            let mut matcher = MetadataMatcher {
                filter: "f".to_owned(),
                path: vec![key.to_owned()],
                value,
                invert: false,
            };
            assert_eq!(matcher.matches(&metadata), expected, "{matcher:?}");
            matcher.invert = true;
            assert_eq!(matcher.matches(&metadata), !expected, "{matcher:?}");
        }
    }

    #[test]
    fn an_address_in_the_filter_state_is_looked_for_in_ranges() {
        let mut state = FilterState::default();
        state.set("ip", "10.0.0.1");
        state.set("ip", "10.1.0.1");
        let mut matcher = FilterStateMatcher {
            key: "ip".to_owned(),
            condition: FilterStateCondition::Address {
                ranges: vec!["10.1.0.0/16".parse().expect("a range")],
                invert: false,
            },
        };
        assert!(matcher.matches(&state));
        matcher.key = "other".to_owned();
        assert!(!matcher.matches(&state));
    }
}
