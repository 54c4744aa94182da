//! Which operating systems the nodes run that a pod may be scheduled to.

use serde_json::Value;

/// Labels of a node with its operating system: the one there is, and its older name.
const OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];
/// Label that nodes with Windows have and others lack: the build of it.
const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";

/// An operating system that Kubernetes knows nodes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Linux,
    Windows,
}

/// Whether only nodes with Windows will do. What merely prefers them, or allows Linux as well, is
/// not that, and neither is what no node fits.
///
/// Nothing is refused here: a field of another type than Kubernetes gives it counts as absent.
pub(super) fn only_windows(spec: &Value) -> bool {
    match spec["os"]["name"].as_str() {
        Some(name) => name == "windows",
        None => System::Windows.fits(spec) && !System::Linux.fits(spec),
    }
}

// === impl System ===

impl System {
    /// Whether some node with this system is one that the pod may be scheduled to.
    fn fits(self, spec: &Value) -> bool {
        let mut selector = spec["nodeSelector"].as_object().into_iter().flatten();
        let selected =
            selector.all(|(key, value)| value.as_str().is_none_or(|value| self.may_be(key, value)));
        let affinity = &spec["affinity"]["nodeAffinity"];
        let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
        let terms = required["nodeSelectorTerms"].as_array();
        // One term is enough.
        selected && terms.is_none_or(|terms| terms.iter().any(|term| self.fits_term(term)))
    }

    /// All expressions of a term count. A term without any fits no node.
    fn fits_term(self, term: &Value) -> bool {
        let count = |list: &str| term[list].as_array().map_or(0, Vec::len);
        let mut expressions = term["matchExpressions"].as_array().into_iter().flatten();
        count("matchExpressions") + count("matchFields") > 0
            && expressions.all(|expression| self.fits_expression(expression))
    }

    fn fits_expression(self, expression: &Value) -> bool {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten();
        let mut values = values.filter_map(Value::as_str);
        match expression["operator"].as_str() {
            Some("In") => values.any(|value| self.may_be(key, value)),
            // Of this key there is one value only, and it is known.
            Some("NotIn") if OS.contains(&key) => !values.any(|value| value == self.name()),
            Some("NotIn") => true,
            Some("Exists") => key != WINDOWS_BUILD || self == Self::Windows,
            Some("DoesNotExist") if key == WINDOWS_BUILD => self == Self::Linux,
            Some("DoesNotExist") => !OS.contains(&key),
            // Numbers: neither label is one, and of others nothing is known.
            _ => !OS.contains(&key) && key != WINDOWS_BUILD,
        }
    }

    /// Whether a node with this system may have the label.
    fn may_be(self, key: &str, value: &str) -> bool {
        match key {
            key if OS.contains(&key) => value == self.name(),
            WINDOWS_BUILD => self == Self::Windows,
            _ => true,
        }
    }

    /// The value of the label.
    fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod spec whose required node affinity has these terms.
    fn required(terms: &Value) -> Value {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        }}})
    }

    /// A term with expressions `(key, operator, values)`.
    fn term(expressions: &[(&str, &str, &[&str])]) -> Value {
        let expression = |(key, operator, values): &(&str, &str, &[&str])| json!({"key": key, "operator": operator, "values": values});
        json!({"matchExpressions": expressions.iter().map(expression).collect::<Vec<_>>()})
    }

    #[test]
    fn a_pod_that_fits_no_linux_node_is_told() {
        let windows = term(&[("kubernetes.io/os", "In", &["windows"])]);
        for spec in [
            json!({"os": {"name": "windows"}}),
            json!({"nodeSelector": {"kubernetes.io/os": "windows"}}),
            json!({"nodeSelector": {"beta.kubernetes.io/os": "windows", "disk": "ssd"}}),
            json!({"nodeSelector": {"node.kubernetes.io/windows-build": "10.0.20348"}}),
            required(&json!([windows])),
            required(&json!([windows, windows])),
            required(&json!([
                term(&[("beta.kubernetes.io/os", "In", &["windows"])]),
                term(&[(
                    "node.kubernetes.io/windows-build",
                    "In",
                    &["10.0.17763", "10.0.20348"]
                )]),
            ])),
            required(&json!([term(&[("kubernetes.io/os", "NotIn", &["linux"])])])),
            required(&json!([term(&[(
                "node.kubernetes.io/windows-build",
                "Exists",
                &[]
            )])])),
            // The expressions of a term narrow each other down.
            required(&json!([term(&[
                ("kubernetes.io/os", "In", &["linux", "windows"]),
                ("kubernetes.io/os", "NotIn", &["linux"]),
                ("disk", "In", &["ssd"]),
            ])])),
            // A term without expressions fits no node.
            required(&json!([windows, {}])),
        ] {
            assert!(only_windows(&spec), "{spec}");
        }
        let mut both = required(&json!([term(&[("disk", "Exists", &[])])]));
        both["nodeSelector"] = json!({"kubernetes.io/os": "windows"});
        assert!(only_windows(&both), "selector and affinity both count");
    }

    #[test]
    fn a_pod_that_may_run_on_linux_or_nowhere_is_not() {
        let windows = term(&[("kubernetes.io/os", "In", &["windows"])]);
        for spec in [
            json!({}),
            json!(null),
            json!({"nodeSelector": "windows", "affinity": 7, "os": []}),
            json!({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "windows"}}),
            json!({"nodeSelector": {"kubernetes.io/os": "linux"}}),
            json!({"nodeSelector": {"example.com/os": "windows"}}),
            json!({"nodeSelector": {"kubernetes.io/os": "windows", "beta.kubernetes.io/os": "linux"}}),
            json!({"tolerations": [{"key": "os", "value": "windows", "effect": "NoSchedule"}]}),
            json!({"affinity": {"nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution":
                    [{"weight": 100, "preference": windows}],
            }}}),
            required(&json!([])),
            required(&json!([
                windows,
                term(&[("kubernetes.io/os", "In", &["linux"])])
            ])),
            required(&json!([windows, term(&[("disk", "In", &["ssd"])])])),
            required(&json!([windows, {"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["node-1"]},
            ]}])),
            required(&json!([term(&[(
                "kubernetes.io/os",
                "In",
                &["linux", "windows"]
            )])])),
            required(&json!([term(&[("kubernetes.io/os", "Exists", &[])])])),
            required(&json!([term(&[(
                "kubernetes.io/os",
                "NotIn",
                &["windows"]
            )])])),
            required(&json!([term(&[(
                "node.kubernetes.io/windows-build",
                "DoesNotExist",
                &[]
            )])])),
            required(&json!([term(&[(
                "node.kubernetes.io/windows-build",
                "NotIn",
                &["10.0.1"]
            )])])),
        ] {
            assert!(!only_windows(&spec), "{spec}");
        }
    }
}
