//! The HTTP filters of each attempt, between the router and the endpoint.

use super::{Exchange, passage::Around, plan::ForwardPlan};
use crate::{
    filter::http::{Decoding, Encoding, UpstreamFilters},
    http::{
        changes::RequestChanges,
        edits::Edits,
        head::{RequestHead, ResponseHead},
        route::CachedRoute,
    },
    metadata::Metadata,
};

impl Exchange<'_> {
    /// Lets the head of an attempt pass, as the router has left it.
    pub(super) fn decode_attempt<'c>(
        &self,
        plan: &'c ForwardPlan<'c>,
        head: &dyn RequestHead,
        changes: &mut RequestChanges<'c>,
    ) {
        let filters = UpstreamFilters::new(plan.upstream_filters(), &plan.matched);
        if filters.is_empty() {
            return;
        }
        let edits = &mut changes.edits;
        if let Some(path) = changes.path.take() {
            edits.set_path(path);
        }
        if let Some(host) = changes.host.take() {
            edits.set_authority(host);
        }
        let find = |_: &dyn RequestHead| Some(plan.matched);
        let (around, random) = (Around::of(self), || self.manager.random());
        filters.on_request_headers(&mut Decoding {
            body: None,
            head,
            edits: &mut *edits,
            has_body: false,
            route: CachedRoute::of(Some(plan.matched), &find),
            stream: around.stream(&random, &mut Metadata::default()),
        });
        changes.path = edits.path().map(str::to_owned);
        changes.host = edits.authority().map(str::to_owned);
    }

    /// Lets the head of an answer pass, as the endpoint sent it.
    pub(super) fn encode_attempt<'c>(
        &self,
        plan: &'c ForwardPlan<'c>,
        came: &dyn ResponseHead,
        edits: &mut Edits<'c>,
    ) {
        let filters = UpstreamFilters::new(plan.upstream_filters(), &plan.matched);
        let Some(request) = self.request.head().filter(|_| !filters.is_empty()) else {
            return;
        };
        let (around, random) = (Around::of(self), || self.manager.random());
        filters.on_response_headers(&mut Encoding {
            head: came,
            edits,
            request,
            route: Some(plan.matched),
            stream: around.stream(&random, &mut Metadata::default()),
        });
    }
}
