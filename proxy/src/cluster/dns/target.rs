//! One name, looked up again and again.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::{sync::Semaphore, time::sleep};

use super::Followable;
use crate::{
    config::{
        dns::{DnsEndpoints, DnsTarget},
        endpoint::Endpoint,
    },
    dns::{LookupError, Refresh, Resolved, Resolver},
};

/// A name of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) cluster: Arc<Followable>,
    /// Which of the cluster's it is.
    pub(super) index: usize,
    pub(super) resolver: Arc<Resolver>,
    pub(super) lookups: Arc<Semaphore>,
}

// === impl Target ===

impl Target {
    /// Looks it up for as long as it runs.
    pub(super) async fn follow(self) {
        let dns = &self.cluster.dns;
        let Some(target) = dns.targets.get(self.index) else {
            return;
        };
        let mut refresh = Refresh::new(dns.refresh);
        loop {
            self.cluster.stats.update_attempt.inc();
            let permit = self.lookups.acquire().await;
            let answer = self.resolver.lookup(&target.name, dns.family).await;
            drop(permit);
            let wait = self.take(target, answer, &mut refresh);
            self.cluster.note_answer();
            sleep(wait).await;
        }
    }

    /// Takes an answer in. Says when to ask again.
    fn take(
        &self,
        target: &DnsTarget,
        answer: Result<Resolved, LookupError>,
        refresh: &mut Refresh,
    ) -> std::time::Duration {
        let (stats, cluster) = (&self.cluster.stats, &self.cluster.name);
        let answer = answer.map_err(|error| error.to_string());
        let answer = answer.and_then(|resolved| {
            // As Envoy: the one endpoint that there is does not go because a name is gone.
            let single = self.cluster.dns.endpoints == DnsEndpoints::Single;
            match single && resolved.addresses.is_empty() {
                true => Err("the name has no address".to_owned()),
                false => Ok(resolved),
            }
        });
        match answer {
            Ok(resolved) => {
                stats.update_success.inc();
                let wait = refresh.after_answer(&resolved);
                if !self.cluster.found(self.index, resolved)
                    && self.cluster.dns.endpoints == DnsEndpoints::Each
                {
                    stats.update_no_rebuild.inc();
                }
                wait
            }
            Err(error) => {
                stats.update_failure.inc();
                tracing::debug!(
                    cluster,
                    name = &*target.name,
                    error,
                    "a name of the cluster cannot be looked up; its last addresses stay",
                );
                refresh.after_failure()
            }
        }
    }
}

// === impl DnsTarget ===

impl DnsTarget {
    /// An endpoint for each address.
    pub(super) fn each(&self, addresses: &[IpAddr]) -> impl Iterator<Item = Endpoint> {
        addresses
            .iter()
            .map(|address| self.found(self.at(*address)))
    }

    /// The one endpoint that has all addresses; none without any.
    pub(super) fn single(&self, addresses: &[IpAddr]) -> Option<Endpoint> {
        let all: Arc<[SocketAddr]> = addresses.iter().map(|it| self.at(*it)).collect();
        Some(Endpoint {
            addresses: Some(Arc::clone(&all)),
            ..self.found(*all.first()?)
        })
    }

    /// The endpoint at an address.
    fn found(&self, address: SocketAddr) -> Endpoint {
        let mut endpoint = Endpoint {
            address,
            ..self.endpoint.clone()
        };
        // Another port to check is one of the same address.
        let check = endpoint.health_check.as_mut();
        let checked = check.and_then(|check| check.address.as_mut());
        if let Some(checked) = checked.filter(|checked| checked.ip().is_unspecified()) {
            checked.set_ip(address.ip());
        }
        endpoint
    }

    fn at(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.endpoint.address.port())
    }
}
