//! Whether something holds, where not everything is known.

use std::{collections::BTreeSet, fmt, sync::Arc};

/// Whether something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It does, whatever else is so.
    Holds,
    /// It does not.
    Fails,
    /// That depends on these.
    Unknown(BTreeSet<Need>),
}

/// What would have to be known of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Where the connection comes from.
    SourceAddress,
    /// Where the client is, behind trusted proxies.
    RemoteAddress,
    /// Where the connection goes.
    DestinationAddress,
    /// SNI.
    ServerName,
    /// The host that the request names.
    Host,
    /// Its method.
    Method,
    /// Its path as it was sent.
    RawPath,
    /// A header.
    Header(Arc<str>),
    /// What its token says.
    Claim,
    /// What an authorization service says.
    Provider(Arc<str>),
}

// === impl Truth ===

impl Truth {
    /// That it is not known for want of this.
    pub(super) fn needs(need: Need) -> Self {
        Self::Unknown(BTreeSet::from([need]))
    }

    /// Whether both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fails, _) | (_, Self::Fails) => Self::Fails,
            (Self::Holds, other) => other,
            (this, Self::Holds) => this,
            (Self::Unknown(needs), Self::Unknown(more)) => {
                Self::Unknown(needs.into_iter().chain(more).collect())
            }
        }
    }

    /// Whether either holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    /// Whether it does not hold.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "`and` and `or` have no operators"
    )]
    pub fn not(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
            unknown => unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

// === impl Need ===

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceAddress => f.write_str("the caller's address"),
            Self::RemoteAddress => f.write_str("the client's address"),
            Self::DestinationAddress => f.write_str("the destination's address"),
            Self::ServerName => f.write_str("the SNI"),
            Self::Host => f.write_str("the host"),
            Self::Method => f.write_str("the method"),
            Self::RawPath => f.write_str("the raw path"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Claim => f.write_str("a claim of the token"),
            Self::Provider(name) => write!(f, "what extension provider {name} says"),
        }
    }
}
