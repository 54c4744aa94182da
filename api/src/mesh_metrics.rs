//! What mesh metrics are called, if there are any, and their labels.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Whether sidecars count who calls whom, and under which names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum MeshMetrics {
    /// They do not: `off`.
    Off,
    /// What the names begin with: `weir` gives `weir_requests_total`, and with `istio` dashboards that
    /// were made for Istio work.
    Named(String),
}

/// What is neither `off` nor the beginning of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither off nor a prefix of lower-case letters and _, such as weir or istio")]
pub struct MeshMetricsError(String);

/// Longest prefix, bytes.
const MAX_PREFIX: usize = 32;

// === impl MeshMetrics ===

impl Default for MeshMetrics {
    fn default() -> Self {
        Self::Named("weir".to_owned())
    }
}

impl fmt::Display for MeshMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Named(prefix) => prefix,
        })
    }
}

impl FromStr for MeshMetrics {
    type Err = MeshMetricsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        match text {
            "off" => Ok(Self::Off),
            _ if (1..=MAX_PREFIX).contains(&text.len()) && text.bytes().all(fits) => {
                Ok(Self::Named(text.to_owned()))
            }
            _ => Err(MeshMetricsError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for MeshMetrics {
    type Error = MeshMetricsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MeshMetrics> for String {
    fn from(metrics: MeshMetrics) -> Self {
        metrics.to_string()
    }
}

/// A label of mesh metrics, in the order in which they are written.
///
/// <https://istio.io/latest/docs/reference/config/metrics/#labels>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(&'static str);

/// What is no label that can be left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no label that can be left out, such as source_version: it is none, or it is reporter, without which calls count twice"
)]
pub struct LabelError(String);

// === impl Label ===

impl Label {
    /// All of them. The last two are of requests only.
    pub const ALL: [Self; 25] = [
        Self("reporter"),
        Self("source_workload"),
        Self("source_canonical_service"),
        Self("source_canonical_revision"),
        Self("source_workload_namespace"),
        Self("source_principal"),
        Self("source_app"),
        Self("source_version"),
        Self("source_cluster"),
        Self("destination_workload"),
        Self("destination_workload_namespace"),
        Self("destination_principal"),
        Self("destination_app"),
        Self("destination_version"),
        Self("destination_service"),
        Self("destination_canonical_service"),
        Self("destination_canonical_revision"),
        Self("destination_service_name"),
        Self("destination_service_namespace"),
        Self("destination_cluster"),
        Self("request_protocol"),
        Self("response_flags"),
        Self("connection_security_policy"),
        Self("response_code"),
        Self("grpc_response_status"),
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Whether connections that carry no requests lack it.
    #[must_use]
    pub fn is_of_requests(self) -> bool {
        ["response_code", "grpc_response_status"].contains(&self.0)
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter().skip(1);
        let found = all.find(|label| label.0 == text);
        found.ok_or_else(|| LabelError(text.to_owned()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_names_of_metrics() {
        for text in ["off", "weir", "istio", "a_b"] {
            let metrics: MeshMetrics = text.parse().expect(text);
            assert_eq!(metrics.to_string(), text);
        }
        for text in ["", "Weir", "a-b", "a{}", "1", &"a".repeat(33)] {
            assert!(text.parse::<MeshMetrics>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn labels_are_known_by_name_and_who_reports_is_never_left_out() {
        for label in &Label::ALL[1..] {
            assert_eq!(label.name().parse(), Ok(*label));
        }
        for text in ["reporter", "path", ""] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
        }
    }
}
