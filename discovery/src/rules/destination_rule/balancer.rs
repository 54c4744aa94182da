//! Which endpoint gets a request.

use serde::Deserialize;
use serde_json::Value;

use super::{Refused, THE_REST, gradual::Slowly, hashing::ConsistentHash};
use crate::{
    model::{Balancing, SimpleBalancing, Warmup},
    rules::{
        Findings, Place,
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

// === impl LoadBalancer ===

impl LoadBalancer {
    pub(super) fn read(
        &self,
        at: &str,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> Option<Balancing> {
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
        simple.or_else(|| hash?.read(&format!("{at}.consistentHash"), place, findings))
    }

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
