//! Label selectors, as Kubernetes writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A Kubernetes label selector. An empty one matches nothing here: a configuration that selects
/// every pod says so with `policy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels the pod carries with exactly these values.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions; all of them hold.
    pub match_expressions: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Name of the label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with; empty for `Exists` and `DoesNotExist`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// How a [`Requirement`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label's value is one of the values.
    In,
    /// It is none of them, or the label is absent.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Whether a pod with these labels is selected.
    pub(crate) fn matches(&self, labels: &BTreeMap<&str, &str>) -> bool {
        let empty = self.match_labels.is_empty() && self.match_expressions.is_empty();
        let carries = |(key, value): (&String, &String)| {
            labels.get(key.as_str()).copied() == Some(value.as_str())
        };
        !empty
            && self.match_labels.iter().all(carries)
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<&str, &str>) -> bool {
        let value = labels.get(self.key.as_str());
        let listed = value.is_some_and(|value| self.values.iter().any(|other| other == value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: serde_json::Value, labels: &[(&str, &str)]) -> bool {
        let selector: LabelSelector = serde_json::from_value(selector).expect("selector");
        selector.matches(&labels.iter().copied().collect())
    }

    #[test]
    fn each_operator_treats_an_absent_label_as_kubernetes_does() {
        let one = |operator: &str| {
            serde_json::json!({"matchExpressions":
            [{"key": "app", "operator": operator, "values": ["web"]}]})
        };
        for (operator, web, api, absent) in [
            ("In", true, false, false),
            ("NotIn", false, true, true),
            ("Exists", true, true, false),
            ("DoesNotExist", false, false, true),
        ] {
            assert_eq!(matches(one(operator), &[("app", "web")]), web, "{operator}");
            assert_eq!(matches(one(operator), &[("app", "api")]), api, "{operator}");
            assert_eq!(matches(one(operator), &[]), absent, "{operator}");
        }
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        assert!(!matches(serde_json::json!({}), &[("app", "web")]));
    }
}
