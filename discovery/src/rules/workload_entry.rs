//! `networking.istio.io` `WorkloadEntry`: a workload that is no pod, for [`super::service_entry`]s that
//! select it.

use serde::Deserialize;

use super::{
    Findings, Place, RuleKind, RuleObject, Selector,
    istio::{GROUP, VERSIONS},
    service_entry::Endpoint,
};
use crate::model::{Effect, EndpointPlace, Target};

/// The object.
pub type WorkloadEntry = RuleObject<Spec>;

/// What it is: an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Spec(Endpoint);

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "WorkloadEntry";
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = VERSIONS;
    const PATH: &'static str = "/apis/networking.istio.io/v1/workloadentries";

    fn selector(&self) -> Option<&Selector> {
        None
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        let said = self.0.read("spec", place, findings)?;
        if matches!(said.place, EndpointPlace::Name(_)) {
            let reason = "is a name, which nobody looks up: write an address; the workload is left out";
            findings.warned("spec.address", reason);
            return None;
        }
        if said.labels.is_empty() {
            let reason = "are missing, so no ServiceEntry selects the workload: write some";
            findings.warned("spec.labels", reason);
        }
        Some((Target::Services, Effect::Workload(Box::new(said))))
    }

    fn advise(&self, _: &Place<'_>, _: &mut Findings) {}
}
