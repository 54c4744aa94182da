//! The filters of each attempt. Those that there are neither wait nor answer, so that they keep
//! nothing between a request and its response.

use super::{Decoding, Encoding, header_mutation::HeaderMutationFilter};
use crate::{
    config::http_filter::{HttpFilter, HttpFilterConfig},
    http::route::Matched,
};

/// The filters of one attempt.
pub struct UpstreamFilters<'c, 'm> {
    configs: &'c [HttpFilter],
    matched: &'m Matched<'c>,
}

// === impl UpstreamFilters ===

impl<'c, 'm> UpstreamFilters<'c, 'm> {
    /// Of a request with this route.
    #[must_use]
    pub fn new(configs: &'c [HttpFilter], matched: &'m Matched<'c>) -> Self {
        Self { configs, matched }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }

    /// Lets the request's head pass through the decoders.
    pub fn on_request_headers(&self, decoding: &mut Decoding<'_, 'c>) {
        for (name, mut filter) in self.filters() {
            filter.on_request_headers(name, decoding);
        }
    }

    /// Lets the response's head pass through the encoders, in reverse.
    pub fn on_response_headers(&self, encoding: &mut Encoding<'_, 'c>) {
        for (name, filter) in self.filters().rev() {
            filter.on_response_headers(name, encoding);
        }
    }

    fn filters(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&'c str, HeaderMutationFilter<'c>)> + use<'c, 'm> {
        let matched = self.matched;
        let takes_part = move |filter: &&HttpFilter| {
            let by_route = matched.is_disabled(&filter.name);
            !by_route.unwrap_or(filter.disabled)
        };
        let filters = self.configs.iter().filter(takes_part);
        filters.filter_map(|filter| match &filter.config {
            HttpFilterConfig::HeaderMutation(config) => {
                Some((filter.name.as_str(), HeaderMutationFilter::new(config)))
            }
            _ => None,
        })
    }
}
