//! What leads a request to the endpoint that its client had before.

use super::{Exchange, send::Sending};
use crate::{
    cluster::{ClientHash, Subject},
    http::{edits::Edited, head::RequestHead},
    metadata::FilterState,
};

impl Exchange<'_> {
    /// The hash that the endpoint is chosen by, where its cluster goes by one. Before the first attempt:
    /// all go by the same.
    pub(super) fn client_hash(&self, sending: &Sending<'_>) -> ClientHash {
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
