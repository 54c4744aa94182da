//! What a fault filter does to a request: its configuration, overridden by runtime keys and, where
//! it says so, by the request's own headers.

use std::time::Duration;

use super::reply;
use crate::{
    config::http_filter::{Fault, fault::AbortWith},
    filter::http::Stream,
    http::{head::RequestHead, local_reply::LocalReply},
    runtime::{FractionalPercent, Runtime},
};

/// A request's configuration, and whom the request says it comes from.
pub(super) struct Settings<'c> {
    pub(super) fault: &'c Fault,
    /// `x-envoy-downstream-service-cluster`, if it counts.
    downstream_cluster: Option<Box<str>>,
}

// === impl Settings ===

impl<'c> Settings<'c> {
    pub(super) fn new(fault: &'c Fault, request: &dyn RequestHead) -> Self {
        let counts = !fault.disable_downstream_cluster_stats;
        let cluster = counts.then(|| request.header("x-envoy-downstream-service-cluster"));
        Self {
            fault,
            downstream_cluster: cluster.flatten().map(|name| name.as_ref().into()),
        }
    }

    pub(super) fn downstream_cluster(&self) -> Option<&str> {
        let cluster = self.downstream_cluster.as_deref();
        cluster.filter(|name| !name.is_empty())
    }

    pub(super) fn max_active_faults(&self, runtime: &Runtime) -> u64 {
        let limit = self.fault.max_active_faults.map_or(u64::MAX, u64::from);
        runtime.integer(&self.fault.runtime.max_active_faults, limit)
    }

    /// How long the request is held back, if it is.
    pub(super) fn delay(&self, request: &dyn RequestHead, stream: &Stream<'_>) -> Option<Duration> {
        let (delay, keys) = (self.fault.delay.as_ref()?, &self.fault.runtime);
        let share = match delay.fixed {
            Some(_) => delay.percentage,
            None => share(
                request,
                "x-envoy-fault-delay-request-percentage",
                delay.percentage,
            ),
        };
        if !self.is_among(
            &keys.delay_percent,
            "delay.fixed_delay_percent",
            share,
            stream,
        ) {
            return None;
        }
        let millis = match delay.fixed {
            Some(fixed) => u64::try_from(fixed.as_millis()).unwrap_or(u64::MAX),
            None => number(request, "x-envoy-fault-delay-request")?,
        };
        let millis = stream.runtime.integer(&keys.delay_duration, millis);
        let millis = match self.key("delay.fixed_duration_ms") {
            Some(key) => stream.runtime.integer(&key, millis),
            None => millis,
        };
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// What the request is answered with, if it is.
    pub(super) fn abort(
        &self,
        request: &dyn RequestHead,
        stream: &Stream<'_>,
    ) -> Option<LocalReply> {
        let (abort, keys) = (self.fault.abort.as_ref()?, &self.fault.runtime);
        let share = match abort.with {
            AbortWith::Header => share(
                request,
                "x-envoy-fault-abort-request-percentage",
                abort.percentage,
            ),
            AbortWith::Http(_) | AbortWith::Grpc(_) => abort.percentage,
        };
        if !self.is_among(&keys.abort_percent, "abort.abort_percent", share, stream) {
            return None;
        }
        let http = match abort.with {
            AbortWith::Http(status) => Some(status),
            AbortWith::Grpc(_) => None,
            AbortWith::Header => number(request, "x-envoy-fault-abort-request")
                .and_then(|status| u16::try_from(status).ok())
                .filter(|status| (200..600).contains(status)),
        };
        if let Some(status) = http {
            let overridden = self.overridden(
                &keys.abort_http_status,
                "abort.http_status",
                status.into(),
                stream,
            );
            let sound = u16::try_from(overridden).ok();
            let sound = sound.filter(|status| (200..600).contains(status));
            return Some(reply(sound.unwrap_or(status), None, &abort.body));
        }
        let grpc = match abort.with {
            AbortWith::Http(_) => None,
            AbortWith::Grpc(status) => Some(status.into()),
            AbortWith::Header => number(request, "x-envoy-fault-abort-grpc-request"),
        };
        let status = self.overridden(&keys.abort_grpc_status, "abort.grpc_status", grpc?, stream);
        let status = u32::try_from(status).unwrap_or(u32::MAX);
        Some(reply(200, Some(status), &abort.body))
    }

    /// How fast the response's body may move, if it is slowed down.
    pub(super) fn bytes_per_second(
        &self,
        request: &dyn RequestHead,
        stream: &Stream<'_>,
    ) -> Option<u64> {
        let limit = self.fault.response_rate_limit.as_ref()?;
        let share = match limit.fixed_kbps {
            Some(_) => limit.percentage,
            None => share(
                request,
                "x-envoy-fault-throughput-response-percentage",
                limit.percentage,
            ),
        };
        let key = &self.fault.runtime.response_rate_limit_percent;
        if !stream.runtime.is_among(key, share, (stream.random)()) {
            return None;
        }
        let kbps = match limit.fixed_kbps {
            Some(kbps) => kbps,
            None => number(request, "x-envoy-fault-throughput-response")?,
        };
        (kbps > 0).then(|| kbps.saturating_mul(1024))
    }

    /// Whether the request is among a share, by the key of its downstream cluster where it has one.
    fn is_among(
        &self,
        key: &str,
        of_cluster: &str,
        share: FractionalPercent,
        stream: &Stream<'_>,
    ) -> bool {
        let of_cluster = self.key(of_cluster);
        let key = of_cluster.as_deref().unwrap_or(key);
        stream.runtime.is_among(key, share, (stream.random)())
    }

    /// A number, by the key of the downstream cluster where there is one.
    fn overridden(&self, key: &str, of_cluster: &str, number: u64, stream: &Stream<'_>) -> u64 {
        match self.key(of_cluster) {
            Some(key) => stream.runtime.integer(&key, number),
            None => stream.runtime.integer(key, number),
        }
    }

    fn key(&self, of_cluster: &str) -> Option<String> {
        let cluster = self.downstream_cluster.as_deref()?;
        Some(format!("fault.http.{cluster}.{of_cluster}"))
    }
}

/// The first value of a header as a number.
fn number(request: &dyn RequestHead, name: &str) -> Option<u64> {
    request.first(name)?.trim().parse().ok()
}

/// A share that the request may make smaller.
fn share(request: &dyn RequestHead, name: &str, share: FractionalPercent) -> FractionalPercent {
    let asked = number(request, name).and_then(|number| u32::try_from(number).ok());
    FractionalPercent {
        numerator: asked.map_or(share.numerator, |asked| asked.min(share.numerator)),
        ..share
    }
}
