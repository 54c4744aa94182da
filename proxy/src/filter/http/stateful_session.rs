//! `envoy.filters.http.stateful_session`: a client that says which endpoint served it comes to that one
//! again, and is told where it says none, or another than it came to.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/stateful_session_filter>

mod state;

use std::sync::Arc;

use super::{Decoding, Encoding};
use crate::{
    cluster::OverrideHost,
    config::{
        format::Command,
        http_filter::{RouteSpecificFilterConfig, StatefulSession},
    },
    stat_set,
    stats::{Registry, Scope, Within},
};
use state::Session;

stat_set! {
    /// `http.<stat_prefix>.stateful_session.<stat_prefix of the filter>.*`
    pub(super) struct SessionStats {
        /// Requests that came to the endpoint of their session.
        routed: Counter,
        /// Requests that came to another endpoint, or named none.
        failed_open: Counter,
        /// Requests that were refused, since the endpoint of their strict session is gone or unhealthy.
        failed_closed: Counter,
        /// Requests that came to an endpoint and cannot have a session.
        no_session: Counter,
    }
}

/// The filter in one request.
pub(super) struct StatefulSessionFilter<'c> {
    config: &'c StatefulSession,
    stats: Option<&'c SessionStats>,
    session: Option<Session<'c>>,
    /// The route does not take it away.
    is_active: bool,
}

// === impl SessionStats ===

impl SessionStats {
    /// None where nobody has named them.
    pub(super) fn register(
        config: &StatefulSession,
        registry: &Registry,
        scope: &Scope,
    ) -> Option<Arc<Within<Self>>> {
        let prefix = Some(&config.stat_prefix).filter(|prefix| !prefix.is_empty())?;
        let prefix = format!("stateful_session.{prefix}.");
        Some(registry.register_within(scope.clone(), prefix, Self::default()))
    }
}

// === impl StatefulSessionFilter ===

impl<'c> StatefulSessionFilter<'c> {
    pub(super) fn new(config: &'c StatefulSession, stats: Option<&'c SessionStats>) -> Self {
        Self {
            config,
            stats,
            session: None,
            is_active: false,
        }
    }

    pub(super) fn on_request_headers(&mut self, name: &str, d: &mut Decoding<'_, 'c>) {
        let of_route = d.route().and_then(|route| {
            let mut configs = route.filter_configs(name);
            configs.find_map(|config| match config {
                RouteSpecificFilterConfig::StatefulSession(session) => Some(session.as_deref()),
                _ => None,
            })
        });
        match of_route {
            Some(None) => return,
            // As Envoy, which counts nothing of it.
            Some(Some(config)) => (self.config, self.stats) = (config, None),
            None => {}
        }
        self.is_active = true;
        let state = self.config.state.as_ref();
        self.session = state.and_then(|state| Session::of(state, &d.request()));
    }

    /// The endpoint that the request asks for.
    pub(super) fn override_host(&self) -> Option<OverrideHost> {
        let address = self.session.as_ref()?.address.as_deref()?;
        Some(OverrideHost {
            address: address.parse().ok(),
            is_strict: self.config.is_strict,
            missing_status: self.config.missing_status,
        })
    }

    pub(super) fn on_response_headers(&self, e: &mut Encoding<'_, 'c>) {
        let mut host = String::new();
        let has_host = e.stream.info.append(&Command::UpstreamHost, &mut host);
        let count = |count: fn(&SessionStats)| {
            if let Some(stats) = self.stats {
                count(stats);
            }
        };
        match &self.session {
            Some(session) if has_host => {
                if session.address.as_deref() == Some(&host) {
                    count(|stats| stats.routed.inc());
                    return;
                }
                session.tell(&host, e.edits);
                if !self.config.is_strict {
                    count(|stats| stats.failed_open.inc());
                }
            }
            Some(_) if self.config.is_strict => count(|stats| stats.failed_closed.inc()),
            None if has_host && self.is_active => count(|stats| stats.no_session.inc()),
            Some(_) | None => {}
        }
    }
}
