//! Which service has which destination.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use super::Index;
use crate::model::{
    AddressChange, Changes, Claim, ClaimKind, ResolvedService, ServiceChange, snapshot::conflicts,
};

impl Index {
    /// Replaces the claims of the old state by those of the new one. Destinations whose claim stays
    /// the same count as changed if the service or that endpoint changed.
    pub(super) fn move_claims(&mut self, change: &ServiceChange, changes: &mut Changes) {
        let claims = |service: &Option<Arc<ResolvedService>>| -> BTreeSet<(SocketAddr, Claim)> {
            let claims = service.iter().flat_map(|service| service.claims());
            claims.collect()
        };
        let (old, new) = (claims(&change.old), claims(&change.new));
        let redeclared = change.declaration_changed();
        for (address, claim) in &old {
            let stays = new.contains(&(*address, claim.clone()));
            if !stays || redeclared || endpoint_changed(change, *address, claim) {
                self.note(*address, changes);
            }
            if !stays {
                self.remove_claim(*address, claim);
            }
        }
        for (address, claim) in new.difference(&old) {
            self.note(*address, changes);
            self.add_claim(*address, claim.clone());
        }
        for address in old.iter().chain(&new).map(|(address, _)| address) {
            if let Some(change) = changes.addresses.get_mut(address) {
                change.new = self.current.claim(*address).cloned();
            }
        }
    }

    /// Remembers who had a destination before this commit changed anything about it.
    fn note(&self, address: SocketAddr, changes: &mut Changes) {
        let old = || self.current.claim(address).cloned();
        let entry = changes.addresses.entry(address);
        entry.or_insert_with(|| AddressChange {
            old: old(),
            new: None,
        });
    }

    fn add_claim(&mut self, address: SocketAddr, claim: Claim) {
        let claims = self.current.addresses.get(&address);
        let mut claims = claims.map(|claims| claims.to_vec()).unwrap_or_default();
        if let Err(place) = claims.binary_search(&claim) {
            claims.insert(place, claim);
        }
        for conflict in conflicts(address, &claims) {
            tracing::warn!(
                destination = %address, service = %conflict.service, ignored = %conflict.ignored,
                "two services claim one address; the older one has it"
            );
        }
        self.current.addresses.insert(address, claims.into());
    }

    fn remove_claim(&mut self, address: SocketAddr, claim: &Claim) {
        let Some(claims) = self.current.addresses.get(&address) else {
            return;
        };
        let left: Vec<_> = claims
            .iter()
            .filter(|held| *held != claim)
            .cloned()
            .collect();
        if left.is_empty() {
            self.current.addresses.remove(&address);
        } else {
            self.current.addresses.insert(address, left.into());
        }
    }
}

fn endpoint_changed(change: &ServiceChange, address: SocketAddr, claim: &Claim) -> bool {
    if claim.kind == ClaimKind::Service {
        return false;
    }
    let endpoint = |service: &Option<Arc<ResolvedService>>| {
        let (_, endpoints) = service.as_ref()?.port(claim.port)?;
        let found = endpoints.binary_search_by_key(&address, |endpoint| endpoint.address);
        found.ok().map(|found| endpoints[found].clone())
    };
    endpoint(&change.old) != endpoint(&change.new)
}
