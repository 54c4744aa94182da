//! Switches that a runtime key may turn.

/// `envoy.config.core.v3.RuntimeFeatureFlag`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureFlag {
    /// Where no runtime layer says otherwise.
    pub default: bool,
    /// The runtime key; empty: none.
    pub key: String,
}

// === impl FeatureFlag ===

impl FeatureFlag {
    /// On, without a key.
    #[must_use]
    pub const fn on() -> Self {
        Self {
            default: true,
            key: String::new(),
        }
    }
}
