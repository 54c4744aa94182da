//! Why a host gets less traffic than others, or none.

use std::fmt;

use crate::config::endpoint::HealthStatus;

/// Envoy's health flags; none: the host is healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HealthFlags(u64);

/// What flags come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It gets its share.
    Healthy,
    /// It gets what healthy ones leave.
    Degraded,
    /// It gets traffic in panic only.
    Unhealthy,
}

/// Their names in `/clusters`, in Envoy's order.
const NAMES: &[(HealthFlags, &str)] = &[
    (HealthFlags::FAILED_OUTLIER_CHECK, "/failed_outlier_check"),
    (HealthFlags::FAILED_EDS_HEALTH, "/failed_eds_health"),
    (HealthFlags::DEGRADED_EDS_HEALTH, "/degraded_eds_health"),
    (HealthFlags::EDS_STATUS_DRAINING, "/eds_status_draining"),
];

impl HealthFlags {
    /// Outlier detection has ejected it.
    pub(crate) const FAILED_OUTLIER_CHECK: Self = Self(1 << 1);
    /// Discovery says that it is unhealthy.
    pub(crate) const FAILED_EDS_HEALTH: Self = Self(1 << 2);
    /// Discovery says that it is degraded.
    pub(crate) const DEGRADED_EDS_HEALTH: Self = Self(1 << 4);
    /// Discovery says that it drains.
    pub(crate) const EDS_STATUS_DRAINING: Self = Self(1 << 9);

    const UNHEALTHY: Self = Self(
        Self::FAILED_OUTLIER_CHECK.0 | Self::FAILED_EDS_HEALTH.0 | Self::EDS_STATUS_DRAINING.0,
    );

    /// What discovery says.
    pub(crate) fn of(said: HealthStatus) -> Self {
        match said {
            HealthStatus::Healthy => Self::default(),
            HealthStatus::Degraded => Self::DEGRADED_EDS_HEALTH,
            HealthStatus::Unhealthy => Self::FAILED_EDS_HEALTH,
            HealthStatus::Draining => Self::EDS_STATUS_DRAINING,
        }
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// These and others.
    pub(crate) fn and(self, others: Option<Self>) -> Self {
        Self(self.0 | others.unwrap_or_default().0)
    }

    /// Whether any of `flags` is set.
    pub(crate) fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// What they come to.
    pub(crate) fn health(self) -> Health {
        if self.has(Self::UNHEALTHY) {
            Health::Unhealthy
        } else if self.has(Self::DEGRADED_EDS_HEALTH) {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }

    /// Whether the host counts neither as available nor as missing.
    pub(crate) fn is_excluded(self) -> bool {
        self.has(Self::EDS_STATUS_DRAINING)
    }
}

impl fmt::Display for HealthFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("healthy");
        }
        let mut set = NAMES.iter().filter(|(flag, _)| self.has(*flag));
        set.try_for_each(|(_, name)| f.write_str(name))
    }
}
