//! `networking.istio.io` `DestinationRule`: how callers connect to a service, and groups of its endpoints.
//!
//! A field that cannot be honoured is warned of, and the others are in force; but what asks for TLS that
//! cannot be spoken makes calls fail, for without it they would go in plaintext.

mod balancer;
mod gradual;
mod hashing;
mod outliers;
mod pool;
mod tls;
mod traffic_policy;

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Findings, Place, RuleKind, RuleObject, Selector,
    istio::{GROUP, Host, VERSIONS, exports, is_label},
    texts,
};
use crate::model::{self, Effect, PortPolicies, Target};
pub(super) use pool::ConnectionPool;
use traffic_policy::TrafficPolicy;

/// The object.
pub type DestinationRule = RuleObject<Spec>;

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    host: String,
    traffic_policy: Option<TrafficPolicy>,
    subsets: Option<Vec<Subset>>,
    export_to: Option<Vec<String>>,
    workload_selector: Option<Selector>,
}

/// A group of the endpoints.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Subset {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    traffic_policy: Option<TrafficPolicy>,
}

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "DestinationRule";
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = VERSIONS;
    const PATH: &'static str = "/apis/networking.istio.io/v1/destinationrules";

    fn selector(&self) -> Option<&Selector> {
        None
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        let host = match Host::read(&self.host, place) {
            Host::Services(host) => host,
            Host::Elsewhere => {
                let reason = format!(
                    "{:?} is no name of a Service, so the rule is in force nowhere: write NAME, or \
                     NAME.NAMESPACE.svc.{}",
                    self.host, place.settings.cluster_domain
                );
                findings.warned("spec.host", reason);
                return None;
            }
            Host::Malformed => {
                let reason = format!("{:?} is no host: write the name of a Service", self.host);
                findings.malformed("spec.host", reason);
                return None;
            }
        };
        let selector = self.workload_selector.as_ref();
        let said = model::DestinationRule {
            host,
            exports: exports(self.export_to.as_ref(), place, findings),
            is_of_root: place.is_root(),
            selector: selector
                .and_then(Selector::labels)
                .map(|labels| texts(labels, place.names)),
            policies: policies(
                self.traffic_policy.as_ref(),
                "spec.trafficPolicy",
                place,
                findings,
            ),
            subsets: self.subsets(place, findings),
        };
        Some((Target::Services, Effect::Destination(Box::new(said))))
    }

    fn advise(&self, _: &Place<'_>, findings: &mut Findings) {
        if self.workload_selector.is_some() && self.selects_nobody() {
            let reason =
                "names no label, so the rule is for all callers: leave it out, or name one";
            findings.warned("spec.workloadSelector", reason);
        }
    }
}

impl Spec {
    fn selects_nobody(&self) -> bool {
        let selector = self.workload_selector.as_ref();
        selector.and_then(Selector::labels).is_none()
    }

    fn subsets(
        &self,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> BTreeMap<Arc<str>, model::Subset> {
        let mut all = BTreeMap::new();
        for (index, said) in self.subsets.iter().flatten().enumerate() {
            let at = format!("spec.subsets[{index}]");
            if !is_label(&said.name) {
                let reason = format!("{:?} is no name: small letters, digits and -", said.name);
                findings.malformed(format!("{at}.name"), reason);
                continue;
            }
            let at_policy = format!("{at}.trafficPolicy");
            let labels = said.labels.iter().flatten();
            let labels =
                labels.map(|(key, value)| (place.names.text(key), place.names.text(value)));
            let subset = model::Subset {
                labels: labels.collect(),
                policies: policies(said.traffic_policy.as_ref(), &at_policy, place, findings),
            };
            let name = place.names.text(&said.name);
            if all.contains_key(&name) {
                let reason = format!("{name:?} is there twice: the first counts");
                findings.malformed(format!("{at}.name"), reason);
                continue;
            }
            all.insert(name, subset);
        }
        all
    }
}

fn policies(
    said: Option<&TrafficPolicy>,
    at: &str,
    place: &Place<'_>,
    findings: &mut Findings,
) -> PortPolicies {
    said.map(|it| it.read(at, place, findings))
        .unwrap_or_default()
}

/// A number that must be above zero, if it is there.
fn positive(at: &str, field: &str, value: Option<u32>, findings: &mut Findings) -> Option<u32> {
    if value == Some(0) {
        findings.malformed(
            format!("{at}.{field}"),
            "0 lets nothing through: write 1 or more",
        );
    }
    value.filter(|it| *it > 0)
}

/// What is done about a field that is not honoured.
const THE_REST: &str = "the rest of the rule is in force";

type Refused<'a> = [(&'a str, &'a Option<Value>)];
