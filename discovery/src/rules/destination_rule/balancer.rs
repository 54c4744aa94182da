//! Which endpoint gets a request.

use serde::Deserialize;
use serde_json::Value;

use super::{Refused, THE_REST, gradual::Slowly};
use crate::{
    model::{Balancing, SimpleBalancing, Warmup},
    rules::{
        Findings,
        istio::{Span, refuse},
    },
};

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct LoadBalancer {
    simple: Option<Simple>,
    consistent_hash: Option<ConsistentHash>,
    locality_lb_setting: Option<Value>,
    zone_aware_lb_setting: Option<Value>,
    backend_utilization: Option<Value>,
    warmup: Option<Slowly>,
    warmup_duration_secs: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Simple {
    Unspecified,
    LeastConn,
    Random,
    Passthrough,
    RoundRobin,
    LeastRequest,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConsistentHash {
    use_source_ip: Option<bool>,
    http_header_name: Option<Value>,
    http_cookie: Option<Value>,
    http_query_parameter_name: Option<Value>,
    maglev: Option<Value>,
    ring_hash: Option<RingHash>,
    minimum_ring_size: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RingHash {
    minimum_ring_size: Option<u64>,
}

/// Most places of a ring that sidecars take.
const MOST_PLACES: u64 = 8 * 1024 * 1024;

// === impl LoadBalancer ===

impl LoadBalancer {
    pub(super) fn read(&self, at: &str, findings: &mut Findings) -> Option<Balancing> {
        let refused: &Refused<'_> = &[
            ("localityLbSetting", &self.locality_lb_setting),
            ("zoneAwareLbSetting", &self.zone_aware_lb_setting),
            ("backendUtilization", &self.backend_utilization),
        ];
        refuse(at, refused, THE_REST, findings);
        let simple = match self.simple {
            None | Some(Simple::Unspecified) => None,
            Some(Simple::LeastConn | Simple::LeastRequest) => {
                Some(Balancing::Simple(SimpleBalancing::LeastRequest))
            }
            Some(Simple::Random) => Some(Balancing::Simple(SimpleBalancing::Random)),
            Some(Simple::RoundRobin) => Some(Balancing::Simple(SimpleBalancing::RoundRobin)),
            Some(Simple::Passthrough) => Some(Balancing::Passthrough),
        };
        let hash = self.consistent_hash.as_ref();
        if simple.is_some() && hash.is_some() {
            findings.malformed(at, "has both simple and consistentHash: write one of them");
        }
        simple.or_else(|| hash?.read(&format!("{at}.consistentHash"), findings))
    }
}

impl LoadBalancer {
    /// How a new endpoint comes to its part, where it has one.
    pub(super) fn warmup(&self, at: &str, findings: &mut Findings) -> Option<Warmup> {
        let older = self.warmup_duration_secs.map(Slowly::within);
        if older.is_some() && self.warmup.is_some() {
            let reason = "is an older word for warmup.duration: leave it out";
            findings.malformed(format!("{at}.warmupDurationSecs"), reason);
        }
        let has_parts = matches!(
            self.simple,
            None | Some(
                Simple::Unspecified | Simple::RoundRobin | Simple::LeastRequest | Simple::LeastConn
            )
        );
        let said = self.warmup.as_ref().or(older.as_ref())?;
        if !has_parts || self.consistent_hash.is_some() {
            let reason = "goes with ROUND_ROBIN and LEAST_REQUEST alone: new endpoints have their part \
                          at once";
            findings.warned(format!("{at}.warmup"), reason);
            return None;
        }
        said.read(&format!("{at}.warmup"), findings)
    }
}

// === impl ConsistentHash ===

impl ConsistentHash {
    fn read(&self, at: &str, findings: &mut Findings) -> Option<Balancing> {
        let refused: &Refused<'_> = &[
            ("httpHeaderName", &self.http_header_name),
            ("httpCookie", &self.http_cookie),
            ("httpQueryParameterName", &self.http_query_parameter_name),
            ("maglev", &self.maglev),
        ];
        let instead = "endpoints are chosen as without it";
        refuse(at, refused, instead, findings);
        let keys = &refused[..3];
        let named = keys.iter().filter(|(_, value)| value.is_some()).count();
        let by_source = self.use_source_ip == Some(true);
        match named + usize::from(by_source) {
            0 => findings.malformed(at, "names nothing to hash: write useSourceIp: true"),
            1 => {}
            _ => findings.malformed(at, "names several things to hash: write one of them"),
        }
        let of_ring = self.ring_hash.as_ref().and_then(|it| it.minimum_ring_size);
        let minimum_ring_size = of_ring.or(self.minimum_ring_size).filter(|it| *it > 0);
        if minimum_ring_size.is_some_and(|size| size > MOST_PLACES) {
            let reason = format!("is more than {MOST_PLACES}: write less");
            findings.malformed(format!("{at}.minimumRingSize"), reason);
            return None;
        }
        let is_ring = self.maglev.is_none();
        (by_source && is_ring).then_some(Balancing::SourceIp { minimum_ring_size })
    }
}
