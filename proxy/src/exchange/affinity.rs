//! What leads a request to the endpoint that its client had before.

use std::net::SocketAddr;

use super::{Exchange, passage::Passage, send::Sending};
use crate::{
    cluster::{ClientHash, OverrideHost, Subject},
    http::{edits::Edited, head::RequestHead},
    metadata::FilterState,
};

/// What leads a request to an endpoint. On the heap, and there only if something does.
pub(super) struct Affinity {
    client: ClientHash,
    /// The endpoint that filters ask for.
    asked: Option<OverrideHost>,
    /// Endpoints that the request names, one for each attempt.
    named: Box<[SocketAddr]>,
}

/// What leads one attempt to an endpoint.
#[derive(Clone, Copy, Default)]
pub(super) struct Wish {
    /// Of the client, where the cluster goes by one.
    pub(super) hash: Option<u64>,
    /// The endpoint that filters ask for.
    pub(super) asked: Option<OverrideHost>,
    /// The endpoint that the request names.
    pub(super) named: Option<SocketAddr>,
}

// === impl Affinity ===

impl Affinity {
    /// `attempt` is counted from 1. As in Envoy, filters ask for the first one only.
    pub(super) fn wish(&self, attempt: u32) -> Wish {
        let index = attempt as usize - 1;
        Wish {
            hash: self.client.hash,
            asked: self.asked.filter(|_| index == 0),
            named: self.named.get(index).copied(),
        }
    }

    /// `set-cookie` of what the endpoint was chosen by.
    pub(super) fn take_cookies(&mut self) -> Vec<String> {
        std::mem::take(&mut self.client.cookies)
    }
}

impl Exchange<'_> {
    /// Before the first attempt: all go by the same.
    pub(super) fn affinity(&self, sending: &Sending<'_>) -> Option<Box<Affinity>> {
        let config = &sending.plan.cluster.config;
        let asked = sending.passage.as_deref().and_then(Passage::override_host);
        let names = !config.load_balancing.override_host_sources.is_empty();
        let leads = asked.is_some() || names || config.lb_policy.goes_by_hash();
        leads.then(|| {
            Box::new(Affinity {
                client: self.client_hash(sending),
                asked,
                named: self.named_hosts(sending),
            })
        })
    }

    /// The hash that the endpoint is chosen by, where its cluster goes by one.
    fn client_hash(&self, sending: &Sending<'_>) -> ClientHash {
        let plan = sending.plan;
        if !plan.cluster.config.lb_policy.goes_by_hash() {
            return ClientHash::default();
        }
        let Some(head) = self.request.head() else {
            return ClientHash::default();
        };
        let edited = sending.passage.as_deref();
        let edited = edited.map(|passage| Edited::new(head, &passage.edits));
        let request: &dyn RequestHead = edited.as_ref().map_or(head, |edited| edited);
        let peer = self.connection.remote;
        let subject = Subject {
            // As Envoy: who asked, by all that is known.
            source: self.manager.client(request, peer.ip()).unwrap_or(peer.ip()),
            request: Some(request),
            filter_state: &FilterState::EMPTY,
            connection: (peer.0, self.connection.original_destination.0),
        };
        plan.cluster
            .client_hash(&plan.forward.hash_policy, &subject)
    }
}
