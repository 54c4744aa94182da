//! Hosts that are asked for by their address.

use weir_api::xds::envoy::{
    config::core::v3::{HealthStatus as Pb, HealthStatusSet},
    extensions::load_balancing_policies::override_host::v3::{OverrideHost, override_host},
};

use super::{
    at::{At, take},
    load_balancing::{Balancing, chosen},
    original_dst::metadata,
    value::{enumeration, header_name},
};
use crate::config::{
    endpoint::HealthStatus, load_balancing::OverrideHostStatuses, override_host::OverrideHostSource,
};

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

/// Hosts that requests name, in front of a policy that picks others.
pub(super) fn of_policy(
    at: &At<'_>,
    message: OverrideHost,
    into: &mut Balancing,
    depth: u8,
) -> Option<()> {
    take!(at, message => OverrideHost {
        supported: override_host_sources, fallback_policy;
        refused: selected_host_key;
    });
    let at_sources = at.field("override_host_sources");
    if override_host_sources.is_empty() {
        at_sources.error("must not be empty");
    }
    if !into.rest.override_host_sources.is_empty() {
        at.unsupported("one within another");
    }
    let sources = override_host_sources.into_iter().enumerate();
    let sources = sources.filter_map(|(index, message)| source(&at_sources.index(index), message));
    into.rest.override_host_sources = sources.collect();
    let at = at.field("fallback_policy");
    chosen(&at, at.required(fallback_policy)?, into, depth + 1)
}

fn source(at: &At<'_>, message: override_host::OverrideHostSource) -> Option<OverrideHostSource> {
    take!(at, message => override_host::OverrideHostSource { supported: header, metadata; });
    match (header.as_str(), metadata) {
        ("", Some(key)) => {
            let key = self::metadata(&at.field("metadata"), key);
            Some(OverrideHostSource::Metadata(key))
        }
        (header, None) if !header.is_empty() => {
            let name = header_name(&at.field("header"), header);
            Some(OverrideHostSource::Header(name))
        }
        _ => {
            at.error("header or metadata is required, and not both");
            None
        }
    }
}
