//! Hosts that are names, which requests and connections bring (`envoy.clusters.dynamic_forward_proxy`).
//! All workers share what is known of names ([`crate::dns_cache`]); each has connections of its own.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_proxy>

mod membership;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{ClusterHealth, Host, health::HealthFlags};
use crate::{
    config::{self, endpoint::Endpoint},
    dns_cache::{Addresses, Answer, Asker, DnsCache, DnsCaches, Key, Load},
    stats::Registry,
};

pub(crate) use membership::ForwardProxies;

/// The hosts of a cluster in one worker.
pub(super) struct Hosts {
    cache: Arc<DnsCache>,
    known: RefCell<HashMap<Key, Rc<Host>>>,
    /// The cluster is gone or replaced: what asks late keeps no connection.
    is_retired: Cell<bool>,
}

/// Why there is no host for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// The request brings no name.
    NoName,
    /// The name cannot be looked up, and why.
    NotFound(Arc<str>),
    /// As many names are known as may be.
    HostOverflow,
    /// As many requests wait for a name as may.
    PendingOverflow,
    /// It is ejected.
    Unhealthy,
}

// === impl Hosts ===

impl Hosts {
    /// None for a cluster of another type.
    pub(super) fn of(
        config: &config::Cluster,
        caches: &DnsCaches,
        registry: &Registry,
    ) -> Option<Box<Self>> {
        let forward_proxy = config.forward_proxy()?;
        Some(Box::new(Self {
            cache: caches.get(&forward_proxy.cache, registry),
            known: RefCell::default(),
            is_retired: Cell::new(false),
        }))
    }

    /// The host of a name that is used now; none if it was not found.
    fn host(&self, key: &Key, health: &ClusterHealth) -> Option<Rc<Host>> {
        let Some(addresses) = self.cache.used(key) else {
            self.forget(key);
            return None;
        };
        let mut known = self.known.borrow_mut();
        let before = known.get(key);
        let learnt = addresses.first().and_then(|first| health.host(*first));
        let is_same = |host: &&Rc<Host>| {
            host.addresses.as_ref() == Some(&addresses)
                && host.learnt().map(std::ptr::from_ref)
                    == learnt.as_deref().map(std::ptr::from_ref)
        };
        if let Some(host) = before.filter(is_same) {
            return Some(Rc::clone(host));
        }
        let endpoint = endpoint(key, &addresses)?;
        let mut host = Host::new(&Arc::new(endpoint), (0, 0));
        host.learn(learnt);
        // As Envoy: what was connected when the name was elsewhere goes on.
        if let Some(before) = before {
            host.continue_as(before);
        }
        let host = Rc::new(host);
        if known.len() >= self.cache.most_hosts() {
            known.retain(|key, host| {
                let stays = self.cache.has(key);
                if !stays {
                    host.retire();
                }
                stays
            });
        }
        match self.is_retired.get() || known.len() >= self.cache.most_hosts() {
            true => host.retire(),
            false => drop(known.insert(key.clone(), Rc::clone(&host))),
        }
        Some(host)
    }

    fn forget(&self, key: &Key) {
        if let Some(host) = self.known.borrow_mut().remove(key) {
            host.retire();
        }
    }

    /// As [`Host::retire`], all of them.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
        self.known
            .take()
            .into_values()
            .for_each(|host| host.retire());
    }

    /// As [`Host::close_idle`], of any.
    pub(super) fn close_idle(&self) -> bool {
        self.known.borrow().values().any(|host| host.close_idle())
    }

    /// As [`Host::reap`]. Lets go of names that are forgotten.
    pub(super) fn reap(&self, now: Instant, idle_timeout: Option<Duration>) -> usize {
        let mut known = self.known.borrow_mut();
        known.retain(|key, host| {
            let stays = self.cache.has(key);
            if !stays {
                host.retire();
            }
            stays
        });
        let left = known.values().map(|host| host.reap(now, idle_timeout));
        left.sum()
    }
}

/// The endpoint of a name; none without an address.
fn endpoint(key: &Key, addresses: &Addresses) -> Option<Endpoint> {
    Some(Endpoint {
        hostname: key.to_string(),
        addresses: Some(Arc::clone(addresses)),
        ..Endpoint::at(*addresses.first()?)
    })
}

// === impl Cluster ===

impl super::Cluster {
    /// Whether its hosts are the names that requests bring.
    pub(crate) fn forwards_by_name(&self) -> bool {
        self.forward_proxy.is_some()
    }

    /// The host of an authority, which is looked up if nobody knows it yet.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: Option<&str>,
    ) -> Result<Rc<Host>, Unresolved> {
        let hosts = self.forward_proxy.as_ref().ok_or(Unresolved::NoName)?;
        let key = Key::of_authority(host, port, self.config.default_port());
        let key = key.filter(|key| !key.name().is_empty());
        let key = key.ok_or(Unresolved::NoName)?;
        let found = match hosts.host(&key, &self.health) {
            Some(host) => Ok(host),
            None => match hosts.load(&key).await {
                Ok(()) => hosts
                    .host(&key, &self.health)
                    .ok_or(Unresolved::NotFound("forgotten".into())),
                Err(unresolved) => Err(unresolved),
            },
        };
        let is_in = |host: &Rc<Host>| !host.flags().has(HealthFlags::FAILED_OUTLIER_CHECK);
        let found = found.and_then(|host| match is_in(&host) {
            true => Ok(host),
            false => Err(Unresolved::Unhealthy),
        });
        if found.is_err() {
            self.stats.upstream_cx_none_healthy.inc();
        }
        found
    }
}

impl Hosts {
    /// Waits for the first answer about a name.
    async fn load(&self, key: &Key) -> Result<(), Unresolved> {
        let answer = match self.cache.load(key, Asker::Cluster) {
            Load::Known(answer) => answer,
            Load::Loading(loading) => loading.answer().await,
            Load::HostOverflow => return Err(Unresolved::HostOverflow),
            Load::PendingOverflow => return Err(Unresolved::PendingOverflow),
        };
        match answer {
            Answer::Addresses(_) => Ok(()),
            Answer::Failed(why) => Err(Unresolved::NotFound(why)),
        }
    }
}

// === impl Unresolved ===

impl Unresolved {
    /// `%RESPONSE_CODE_DETAILS%`, where it says more than that there is no host.
    pub(crate) fn details(&self) -> Option<String> {
        Some(match self {
            Self::NoName | Self::Unhealthy => return None,
            Self::NotFound(why) => format!("dns_resolution_failure{{{why}}}"),
            Self::HostOverflow => "dns_cache_overflow".to_owned(),
            Self::PendingOverflow => "dns_cache_pending_requests_overflow".to_owned(),
        })
    }
}
