//! What rules about requests say in vain.

use std::sync::Arc;

use super::Backend;
use crate::model::{NamespacedName, RuleName, Snapshot};

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
