//! `ReferenceGrant`: who may refer to services of its namespace from another one.

use serde::Deserialize;

use super::GROUP;
use crate::{
    model::{Effect, Grant, Target},
    rules::{Findings, Place, RuleKind, RuleObject, Selector},
};

/// The object.
pub type ReferenceGrant = RuleObject<Spec>;

/// What it grants: each of the ones may refer to each of the others.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// Who may refer.
    pub from: Option<Vec<From>>,
    /// To whom.
    pub to: Option<Vec<To>>,
}

/// Objects of a kind in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct From {
    /// Group of their kind.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Their namespace.
    pub namespace: String,
}

/// Objects of a kind in the grant's namespace.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct To {
    /// Group of their kind.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// Only the one of that name.
    pub name: Option<String>,
}

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "ReferenceGrant";
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const PATH: &'static str = "/apis/gateway.networking.k8s.io/v1beta1/referencegrants";

    fn selector(&self) -> Option<&Selector> {
        None
    }

    fn read(&self, place: &Place<'_>, _: &mut Findings) -> Option<(Target, Effect)> {
        let names = place.names;
        let services = self.to.iter().flatten();
        let services = services.filter(|to| to.group.is_empty() && to.kind == "Service");
        let routes = self
            .from
            .iter()
            .flatten()
            .filter(|from| from.group == GROUP);
        let grants: Vec<_> = services
            .flat_map(|to| {
                routes.clone().map(|from| Grant {
                    kind: names.text(&from.kind),
                    namespace: names.text(&from.namespace),
                    to: to.name.as_deref().map(|name| names.text(name)),
                })
            })
            .collect();
        // Those of gateways for Secrets are none of ours.
        (!grants.is_empty()).then_some((Target::Namespace, Effect::Grants(grants)))
    }

    fn advise(&self, place: &Place<'_>, findings: &mut Findings) {
        for (field, is_empty) in [
            ("spec.from", self.from.iter().flatten().next().is_none()),
            ("spec.to", self.to.iter().flatten().next().is_none()),
        ] {
            if is_empty {
                findings.malformed(field, "is empty, so nothing is granted: name somebody");
            }
        }
        for (index, from) in self.from.iter().flatten().enumerate() {
            if from.namespace == place.namespace {
                findings.warned(
                    format!("spec.from[{index}].namespace"),
                    "is the grant's own, where nothing needs to be granted: name another one",
                );
            }
        }
    }
}
