//! `envoy.filters.http.fault`: holds requests back, answers them itself, slows responses down, to see
//! what a mesh makes of it.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter>

mod settings;
mod stats;

use std::time::{Duration, Instant};

use super::{Decoding, Step, Throttle};
use crate::{
    config::http_filter::{Fault, RouteSpecificFilterConfig},
    http::{
        head::Fields,
        local_reply::{FilterReply, LocalReply},
    },
    reason::Reason,
};
use settings::Settings;

pub(super) use stats::FaultStats;

/// When a delay ends that is longer than clocks can say.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The filter in one request.
pub(super) struct FaultFilter<'c> {
    config: &'c Fault,
    stats: &'c FaultStats,
    /// What holds for this request, once it is known, while it is held back.
    delaying: Option<Settings<'c>>,
    /// Counts as one, whatever is injected.
    active: Option<stats::ActiveFault<'c>>,
    /// A delay was injected.
    pub(super) has_delayed: bool,
    /// Slows the response's body down.
    pub(super) throttle: Option<Throttle>,
}

// === impl FaultFilter ===

impl<'c> FaultFilter<'c> {
    pub(super) fn new(config: &'c Fault, stats: &'c FaultStats) -> Self {
        Self {
            config,
            stats,
            delaying: None,
            active: None,
            has_delayed: false,
            throttle: None,
        }
    }

    /// Called again when a delay has passed.
    pub(super) fn on_request_headers(&mut self, name: &str, d: &mut Decoding<'_, 'c>) -> Step {
        if let Some(settings) = self.delaying.take() {
            return self.after_delay(name, &settings, d);
        }
        let of_route = d.route().and_then(|route| {
            let mut configs = route.filter_configs(name);
            configs.find_map(|config| match config {
                RouteSpecificFilterConfig::Fault(fault) => Some(&**fault),
                _ => None,
            })
        });
        let fault = of_route.unwrap_or(self.config);
        if !concerns(fault, d) {
            return Step::Continue;
        }
        let settings = Settings::new(fault, &d.request());
        self.limit_response(&settings, d);
        let delay = settings.delay(&d.request(), &d.stream);
        if let Some(delay) = delay
            && self.begin_fault(&settings, d)
        {
            self.stats.count_delay(settings.downstream_cluster());
            self.has_delayed = true;
            add_metadata(name, fault, d);
            self.delaying = Some(settings);
            let until = d.stream.now.checked_add(delay);
            return Step::WaitUntil(until.unwrap_or_else(|| Instant::now() + NEVER));
        }
        match settings.abort(&d.request(), &d.stream) {
            Some(reply) if self.begin_fault(&settings, d) => self.abort(name, &settings, reply, d),
            _ => Step::Continue,
        }
    }

    fn after_delay(
        &mut self,
        name: &str,
        settings: &Settings<'c>,
        d: &mut Decoding<'_, 'c>,
    ) -> Step {
        if let Some(reply) = settings.abort(&d.request(), &d.stream) {
            return self.abort(name, settings, reply, d);
        }
        // As Envoy: what may still be slowed down stays on the count.
        if settings.fault.response_rate_limit.is_none() {
            self.active = None;
        }
        Step::Continue
    }

    fn abort(
        &self,
        name: &str,
        settings: &Settings<'_>,
        reply: LocalReply,
        d: &mut Decoding<'_, '_>,
    ) -> Step {
        self.stats.count_abort(settings.downstream_cluster());
        add_metadata(name, settings.fault, d);
        Step::Reply(Box::new(reply))
    }

    fn limit_response(&mut self, settings: &Settings<'c>, d: &Decoding<'_, '_>) {
        let rate = settings.bytes_per_second(&d.request(), &d.stream);
        if let Some(rate) = rate
            && self.begin_fault(settings, d)
        {
            self.stats.general.response_rl_injected.inc();
            self.throttle = Some(Throttle::new(rate, d.stream.now));
        }
    }

    /// Whether one more fault may be injected. Further ones into the same request always may.
    fn begin_fault(&mut self, settings: &Settings<'_>, d: &Decoding<'_, '_>) -> bool {
        if self.active.is_none() {
            let limit = settings.max_active_faults(d.stream.runtime);
            self.active = self.stats.begin(limit);
        }
        self.active.is_some()
    }
}

/// Whether faults are for this request at all.
fn concerns(fault: &Fault, d: &mut Decoding<'_, '_>) -> bool {
    if !fault.upstream_cluster.is_empty() {
        let route = d.route();
        let cluster = route.and_then(|route| route.cluster(&d.request()));
        if cluster.as_deref() != Some(fault.upstream_cluster.as_str()) {
            return false;
        }
    }
    let request = d.request();
    let node = || request.header("x-envoy-downstream-service-node");
    let is_named = |node: &str| fault.downstream_nodes.iter().any(|known| known == node);
    let mut headers = fault.headers.iter();
    (fault.downstream_nodes.is_empty() || node().is_some_and(|node| is_named(&node)))
        && headers.all(|matcher| crate::http::head::header_matches(matcher, &request))
}

fn add_metadata(name: &str, fault: &Fault, d: &mut Decoding<'_, '_>) {
    if let Some(metadata) = &fault.filter_metadata {
        d.stream.metadata.merge(name, metadata.clone());
    }
}

/// The reply to a request that is aborted.
fn reply(status: u16, grpc_status: Option<u32>, body: &str) -> LocalReply {
    let mut reply = LocalReply::from(Reason::FaultInjected);
    reply.status = status;
    reply.of_filter = grpc_status.map(|grpc_status| {
        Box::new(FilterReply {
            grpc_status: Some(grpc_status),
            ..FilterReply::default()
        })
    });
    if !body.is_empty() {
        reply.body = body.to_owned().into();
    }
    reply
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::abort_all;
