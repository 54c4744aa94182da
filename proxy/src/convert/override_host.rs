//! Hosts that are asked for by their address.

use weir_api::xds::envoy::config::core::v3::{HealthStatus as Pb, HealthStatusSet};

use super::{
    at::{At, take},
    value::enumeration,
};
use crate::config::{endpoint::HealthStatus, load_balancing::OverrideHostStatuses};

/// Statuses that are one here.
const ALIKE: [(Pb, Pb, HealthStatus); 2] = [
    (Pb::Unknown, Pb::Healthy, HealthStatus::Healthy),
    (Pb::Unhealthy, Pb::Timeout, HealthStatus::Unhealthy),
];

/// What the health of a host may be that is asked for by its address.
pub(super) fn statuses(at: &At<'_>, message: HealthStatusSet) -> OverrideHostStatuses {
    take!(at, message => HealthStatusSet { supported: statuses; });
    let at = at.field("statuses");
    let said = statuses.into_iter().enumerate();
    let said: Vec<Pb> = said
        .filter_map(|(index, status)| enumeration(&at.index(index), status))
        .collect();
    let mut statuses = Vec::new();
    for (one, other, status) in ALIKE {
        match (said.contains(&one), said.contains(&other)) {
            (true, true) => statuses.push(status),
            (false, false) => {}
            _ => {
                let (one, other) = (one.as_str_name(), other.as_str_name());
                at.unsupported(format!("{one} without {other}, or the other way round"));
            }
        }
    }
    let others = [
        (Pb::Draining, HealthStatus::Draining),
        (Pb::Degraded, HealthStatus::Degraded),
    ];
    let others = others.into_iter().filter(|(pb, _)| said.contains(pb));
    statuses.extend(others.map(|(_, status)| status));
    OverrideHostStatuses(statuses.into())
}
