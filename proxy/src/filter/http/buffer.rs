//! `envoy.filters.http.buffer`: holds a request back until all of it is there.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/buffer_filter>

use super::{Decoding, Step};
use crate::config::http_filter::{Buffer, RouteSpecificFilterConfig};

/// The filter in one request.
pub(super) struct BufferFilter {
    config: Buffer,
}

// === impl BufferFilter ===

impl BufferFilter {
    pub(super) fn new(config: Buffer) -> Self {
        Self { config }
    }

    pub(super) fn on_request_headers(&mut self, name: &str, d: &mut Decoding<'_, '_>) -> Step {
        if !d.has_body {
            return Step::Continue;
        }
        let route = d.route();
        let of_route = route.and_then(|route| {
            let mut configs = route.filter_configs(name);
            configs.find_map(|config| match config {
                RouteSpecificFilterConfig::Buffer(buffer) => Some(*buffer),
                _ => None,
            })
        });
        match of_route.unwrap_or(Some(self.config)) {
            Some(config) => Step::WholeBody {
                limit: config.max_request_bytes.into(),
            },
            None => Step::Continue,
        }
    }
}
