//! What mesh metrics are called, if there are any.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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
}
