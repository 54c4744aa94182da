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
    (HealthFlags::FAILED_ACTIVE_HC, "/failed_active_hc"),
    (HealthFlags::FAILED_OUTLIER_CHECK, "/failed_outlier_check"),
    (HealthFlags::FAILED_EDS_HEALTH, "/failed_eds_health"),
    (HealthFlags::DEGRADED_ACTIVE_HC, "/degraded_active_hc"),
    (HealthFlags::DEGRADED_EDS_HEALTH, "/degraded_eds_health"),
    (
        HealthFlags::PENDING_DYNAMIC_REMOVAL,
        "/pending_dynamic_removal",
    ),
    (HealthFlags::PENDING_ACTIVE_HC, "/pending_active_hc"),
    (
        HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
        "/excluded_via_immediate_hc_fail",
    ),
    (HealthFlags::ACTIVE_HC_TIMEOUT, "/active_hc_timeout"),
    (HealthFlags::EDS_STATUS_DRAINING, "/eds_status_draining"),
];

impl HealthFlags {
    /// Its health checks fail, or none has succeeded yet.
    pub(crate) const FAILED_ACTIVE_HC: Self = Self(1);
    /// Outlier detection has ejected it.
    pub(crate) const FAILED_OUTLIER_CHECK: Self = Self(1 << 1);
    /// Discovery says that it is unhealthy.
    pub(crate) const FAILED_EDS_HEALTH: Self = Self(1 << 2);
    /// Its health checks say that it is degraded.
    pub(crate) const DEGRADED_ACTIVE_HC: Self = Self(1 << 3);
    /// Discovery says that it is degraded.
    pub(crate) const DEGRADED_EDS_HEALTH: Self = Self(1 << 4);
    /// Discovery has taken it away, and its health checks succeed.
    pub(crate) const PENDING_DYNAMIC_REMOVAL: Self = Self(1 << 5);
    /// It was not checked yet, and counts neither way before it is.
    pub(crate) const PENDING_ACTIVE_HC: Self = Self(1 << 6);
    /// Its health checks fail, and it says that it does not count either.
    pub(crate) const EXCLUDED_VIA_IMMEDIATE_HC_FAIL: Self = Self(1 << 7);
    /// It does not answer its health checks in time.
    pub(crate) const ACTIVE_HC_TIMEOUT: Self = Self(1 << 8);
    /// Discovery says that it drains.
    pub(crate) const EDS_STATUS_DRAINING: Self = Self(1 << 9);

    const UNHEALTHY: Self = Self::FAILED_ACTIVE_HC
        .with(Self::FAILED_OUTLIER_CHECK)
        .with(Self::FAILED_EDS_HEALTH)
        .with(Self::EDS_STATUS_DRAINING);
    const DEGRADED: Self = Self::DEGRADED_ACTIVE_HC.with(Self::DEGRADED_EDS_HEALTH);
    const EXCLUDED: Self = Self::PENDING_ACTIVE_HC
        .with(Self::EXCLUDED_VIA_IMMEDIATE_HC_FAIL)
        .with(Self::EDS_STATUS_DRAINING);

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

    /// These and others.
    pub(crate) const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These without others.
    pub(crate) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether any of `flags` is set.
    pub(crate) fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// What they come to.
    pub(crate) fn health(self) -> Health {
        if self.has(Self::UNHEALTHY) {
            Health::Unhealthy
        } else if self.has(Self::DEGRADED) {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }

    /// What they come to, in the words of discovery.
    pub(crate) fn status(self) -> HealthStatus {
        match self.health() {
            Health::Healthy => HealthStatus::Healthy,
            Health::Degraded => HealthStatus::Degraded,
            Health::Unhealthy if self.has(Self::UNHEALTHY.without(Self::EDS_STATUS_DRAINING)) => {
                HealthStatus::Unhealthy
            }
            Health::Unhealthy => HealthStatus::Draining,
        }
    }

    /// Whether the host counts neither as available nor as missing.
    pub(crate) fn is_excluded(self) -> bool {
        self.has(Self::EXCLUDED)
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
