//! `networking.istio.io` `Sidecar`: what single sidecars take, and what their pods may reach.

mod ingress;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Findings, Place, RuleKind, RuleObject, Selector,
    destination_rule::ConnectionPool,
    istio::{GROUP, VERSIONS, refuse},
    service_entry::WorkloadSelector,
};
use crate::model::{Effect, SidecarScope, Target, Unknown};

/// The object.
pub type Sidecar = RuleObject<Spec>;

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    workload_selector: Option<WorkloadSelector>,
    ingress: Option<Vec<ingress::Ingress>>,
    egress: Option<Vec<Egress>>,
    inbound_connection_pool: Option<ConnectionPool>,
    outbound_traffic_policy: Option<Outbound>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Outbound {
    mode: Mode,
    egress_proxy: Option<Value>,
}

/// In Istio nothing said is `REGISTRY_ONLY`, the first value of the field, and is read as it is there
/// written by hand: an empty policy says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Mode {
    #[default]
    RegistryOnly,
    AllowAny,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Egress {
    hosts: Option<Vec<String>>,
    port: Option<Value>,
    bind: Option<Value>,
    capture_mode: Option<Value>,
}

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "Sidecar";
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = VERSIONS;
    const PATH: &'static str = "/apis/networking.istio.io/v1/sidecars";

    fn selector(&self) -> Option<&Selector> {
        None
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        let selector = self.workload_selector.as_ref();
        let target = match selector.and_then(|it| it.labels(place)) {
            Some(labels) => Target::Workloads(labels),
            None if place.is_root() => Target::Mesh,
            None => Target::Namespace,
        };
        let outbound = self.outbound_traffic_policy.as_ref().map(|said| {
            let at = "spec.outboundTrafficPolicy";
            let instead = "connections are passed through or refused as mode says";
            refuse(
                at,
                &[("egressProxy", &said.egress_proxy)],
                instead,
                findings,
            );
            match said.mode {
                Mode::AllowAny => Unknown::Passed,
                Mode::RegistryOnly => Unknown::Refused,
            }
        });
        let pool = self.inbound_connection_pool.as_ref();
        let scope = SidecarScope {
            outbound,
            pool: pool
                .map(|it| it.read("spec.inboundConnectionPool", findings))
                .map(Into::into),
            ingress: ingress::read(self.ingress.as_deref().unwrap_or_default(), findings),
        };
        for (index, egress) in self.egress.iter().flatten().enumerate() {
            egress.read(index, findings);
        }
        Some((target, Effect::Scope(Box::new(scope))))
    }

    fn advise(&self, place: &Place<'_>, findings: &mut Findings) {
        let selector = self.workload_selector.as_ref();
        if selector.is_some_and(WorkloadSelector::is_empty) {
            let reason = "names no label, so the rule is about all pods: leave it out, or name one";
            findings.warned("spec.workloadSelector", reason);
        }
        let is_about_all = selector.is_none_or(WorkloadSelector::is_empty);
        if self.ingress.is_some() && is_about_all {
            let reason =
                "is of all pods here, whatever they listen on: name some by workloadSelector";
            match place.is_root() {
                true => findings.malformed("spec.ingress", reason),
                false => findings.warned("spec.ingress", reason),
            }
        }
    }
}

// === impl Egress ===

impl Egress {
    fn read(&self, index: usize, findings: &mut Findings) {
        let at = format!("spec.egress[{index}]");
        let refused = &[
            ("port", &self.port),
            ("bind", &self.bind),
            ("captureMode", &self.capture_mode),
        ];
        let instead = "sidecars take what is captured, on all ports";
        refuse(&at, refused, instead, findings);
        let every = |host: &String| host == "*/*";
        if !self.hosts.iter().flatten().any(every) {
            let reason = "is not needed, for sidecars learn of what their pods call and of nothing else; \
                          it forbids nothing: what is left out is reached all the same";
            findings.warned(format!("{at}.hosts"), reason);
        }
    }
}
