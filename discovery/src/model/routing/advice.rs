//! What rules about requests say in vain.

use std::sync::Arc;

use super::Backend;
use crate::model::{HostScope, NamespacedName, RuleName, Snapshot};

impl Snapshot {
    /// Rules about requests to a service that do not count because of others: each such rule behind the one
    /// that does. Looks at every rule.
    #[must_use]
    pub fn overruled(&self) -> Vec<(RuleName, RuleName)> {
        let routings = self.attachments().routings();
        let rivals = routings.all().filter_map(|it| routings.rival(it));
        let mut all: Vec<_> = rivals
            .map(|(rule, ignored)| (rule.clone(), ignored.clone()))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Rules about calls of hosts that no rule declares, each with such a host. Looks at every rule.
    #[must_use]
    pub fn undeclared_hosts(&self) -> Vec<(RuleName, Arc<str>)> {
        let destinations = self.attachments().destinations().all();
        let destinations = destinations.filter_map(|it| {
            let said = it.effect.destination()?;
            Some((&it.rule, &said.host))
        });
        let routings = self.attachments().routings().all();
        let routings = routings.flat_map(|it| {
            let said = it.effect.routing().into_iter();
            said.flat_map(|said| said.hosts.iter().map(|host| (&it.rule, host)))
        });
        let hosts = destinations.chain(routings);
        let mut all: Vec<_> = hosts
            .filter_map(|(rule, host)| match host {
                HostScope::Host(host) if self.hosts_named(host).next().is_none() => {
                    Some((rule.clone(), host.clone()))
                }
                _ => None,
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Groups of endpoints to which rules send requests and which no rule has. Looks at every rule.
    #[must_use]
    pub fn lost_subsets(&self) -> Vec<(RuleName, NamespacedName, Arc<str>)> {
        let destinations = self.attachments().destinations();
        let rules = self.attachments().routings().all();
        let mut all: Vec<_> = rules
            .flat_map(|it| {
                let backends = it.effect.routing().into_iter();
                let backends = backends.flat_map(super::Routing::backends);
                backends.filter_map(move |backend| match backend {
                    Backend::Service {
                        service,
                        subset: Some(subset),
                        ..
                    } if !destinations.subsets_of(service).contains(subset) => {
                        Some((it.rule.clone(), service.clone(), subset.clone()))
                    }
                    _ => None,
                })
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
