//! Hosts that discovery has taken away and that stay while their health checks succeed, as Envoy has
//! it: a registry that has lost sight of hosts takes no traffic from those that serve.

use std::{collections::HashMap, sync::Arc};

use super::{HealthFlags, Hosts};
use crate::config::{
    self, LoadAssignment,
    cluster::ClusterDiscovery,
    endpoint::{Endpoint, HealthCheckConfig, HealthStatus, LocalityEndpoints},
};

/// What discovery says now, and beside it the hosts that stay.
pub(super) fn with_staying(
    config: &config::Cluster,
    said: &Arc<LoadAssignment>,
    hosts: &Hosts,
) -> Arc<LoadAssignment> {
    let may_stay = config.health_check.is_some()
        && !config.host_changes.ignore_health_on_removal
        && !matches!(config.discovery, ClusterDiscovery::Static(_));
    let Some(before) = hosts.assignment.as_ref().filter(|_| may_stay) else {
        return Arc::clone(said);
    };
    for endpoint in said.endpoints() {
        if let Some(state) = hosts.states.get(&endpoint.address) {
            state.clear(HealthFlags::PENDING_DYNAMIC_REMOVAL);
        }
    }
    let named: HashMap<_, _> = said.endpoints().map(|one| (one.address, ())).collect();
    let mut all = Arc::clone(said);
    for locality in &before.localities {
        let stays = |endpoint: &&Arc<Endpoint>| {
            !named.contains_key(&endpoint.address) && stays(endpoint, hosts)
        };
        let staying: Vec<_> = locality.endpoints.iter().filter(stays).cloned().collect();
        if !staying.is_empty() {
            add(Arc::make_mut(&mut all), locality, staying);
        }
    }
    all
}

/// Whether a host that discovery has taken away stays, which it is then marked for.
fn stays(endpoint: &Endpoint, hosts: &Hosts) -> bool {
    let is_checked = !is_disabled(endpoint.health_check.as_deref());
    let state = hosts.states.get(&endpoint.address).filter(|_| is_checked);
    let healthy = state.filter(|state| {
        !state.flags().has(HealthFlags::FAILED_ACTIVE_HC)
            && endpoint.health != HealthStatus::Unhealthy
    });
    if let Some(state) = healthy {
        state.set(HealthFlags::PENDING_DYNAMIC_REMOVAL);
    }
    healthy.is_some()
}

fn add(all: &mut LoadAssignment, of: &LocalityEndpoints, staying: Vec<Arc<Endpoint>>) {
    let place = |locality: &LocalityEndpoints| {
        (
            locality.priority,
            locality.region.clone(),
            locality.zone.clone(),
            locality.sub_zone.clone(),
        )
    };
    let mut localities = all.localities.iter_mut();
    if let Some(locality) = localities.find(|locality| place(locality) == place(of)) {
        locality.endpoints.extend(staying);
        return;
    }
    all.localities.push(LocalityEndpoints {
        endpoints: staying,
        ..of.clone()
    });
}

/// Whether checks of an endpoint ask the same as they did.
pub(super) fn checked_alike<'a>(
    before: Option<&'a LoadAssignment>,
    now: &LoadAssignment,
) -> impl Fn(&Endpoint) -> bool + 'a {
    let says = |endpoint: &Endpoint| endpoint.health_check.is_some();
    // Another name to ask for leaves what was learnt as it is, as in Envoy.
    let asks = |config: Option<&HealthCheckConfig>| {
        let address = config.and_then(|config| config.address);
        (address, is_disabled(config))
    };
    let any = now.endpoints().any(says) || before.is_some_and(|all| all.endpoints().any(says));
    // Nothing is looked up where nobody says anything.
    let known = before.filter(|_| any).map(|before| {
        let each = before.endpoints();
        let each = each.map(|one| (one.address, one.health_check.as_deref()));
        each.collect::<HashMap<_, _>>()
    });
    move |endpoint| match known.as_ref().and_then(|all| all.get(&endpoint.address)) {
        Some(known) => asks(*known) == asks(endpoint.health_check.as_deref()),
        None => true,
    }
}

pub(super) fn is_disabled(config: Option<&HealthCheckConfig>) -> bool {
    config.is_some_and(|config| config.disable_active_health_check)
}
