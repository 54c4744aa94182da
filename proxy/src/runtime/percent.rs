//! Shares of requests, which may be overridden by a runtime key.

/// `envoy.type.v3.FractionalPercent`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FractionalPercent {
    /// So many.
    pub numerator: u32,
    /// Of so many: 100, 10 000 or 1 000 000.
    pub denominator: u32,
}

/// `envoy.config.core.v3.RuntimeFractionalPercent`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimePercent {
    /// Key whose value counts instead; empty: none.
    pub key: String,
    /// Without such a value.
    pub default: FractionalPercent,
}

// === impl FractionalPercent ===

impl FractionalPercent {
    /// All.
    pub const ALL: Self = Self::percent(100);

    /// Hundredths.
    #[must_use]
    pub const fn percent(numerator: u32) -> Self {
        Self {
            numerator,
            denominator: 100,
        }
    }

    /// Whether the request that drew `random` is among them.
    #[must_use]
    pub fn includes(self, random: u64) -> bool {
        random % u64::from(self.denominator.max(1)) < u64::from(self.numerator)
    }
}

// === impl RuntimePercent ===

impl RuntimePercent {
    /// All, without a key.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            key: String::new(),
            default: FractionalPercent::ALL,
        }
    }
}
