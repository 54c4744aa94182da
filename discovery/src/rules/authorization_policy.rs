//! `security.istio.io` `AuthorizationPolicy`: who may connect to a pod, and do what there.
//!
//! Where a part of a policy cannot be honoured, nobody is let in by it: of a policy that allows, the
//! rule with that part is left out; of one that denies, the part counts as if it held.

mod advice;
mod fields;
mod reader;
mod values;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Findings, Place, RuleKind, RuleObject, Selector, target};
use crate::model::{AuthorizationAction, AuthorizationRule, Effect, Target};
use reader::Reader;

/// The object. One that says nothing allows nothing.
pub type AuthorizationPolicy = RuleObject<Spec>;

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// Of which pods; of all where it selects none.
    pub selector: Option<Selector>,
    /// Of which gateways or services, which is not for sidecars.
    pub target_ref: Option<TargetRef>,
    /// The same of several.
    pub target_refs: Option<Vec<TargetRef>>,
    /// What it is about.
    pub rules: Option<Vec<Rule>>,
    /// What becomes of that.
    pub action: Action,
    /// Whom to ask where that is `CUSTOM`.
    pub provider: Option<Provider>,
}

/// A gateway or a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetRef {
    /// Group of its kind.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, which is the policy's.
    pub namespace: String,
}

/// A service that decides about requests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Its name among the mesh's extension providers.
    pub name: String,
}

/// What becomes of what a policy is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// It is let through, and nothing else.
    #[default]
    Allow,
    /// It is refused.
    Deny,
    /// It is marked for logs.
    Audit,
    /// A service is asked.
    Custom,
}

/// Some callers, some operations, and what else must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// Callers.
    pub from: Option<Vec<From>>,
    /// Operations.
    pub to: Option<Vec<To>>,
    /// What else must hold.
    pub when: Option<Vec<When>>,
}

/// A caller.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct From {
    /// Lists of values by their fields.
    pub source: BTreeMap<String, Vec<String>>,
}

/// An operation.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct To {
    /// Lists of values by their fields.
    pub operation: BTreeMap<String, Vec<String>>,
}

/// Something that must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// Of which attribute.
    pub key: String,
    /// It has one of these values.
    pub values: Option<Vec<String>>,
    /// It has none of these.
    pub not_values: Option<Vec<String>>,
}

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "AuthorizationPolicy";
    const GROUP: &'static str = "security.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const PATH: &'static str = "/apis/security.istio.io/v1/authorizationpolicies";

    fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        if self.targets().next().is_some() {
            findings.warned(
                "spec.targetRefs",
                "a policy for gateways, waypoints or services says nothing to sidecars, so this one \
                 is left out: select pods by spec.selector",
            );
            return None;
        }
        let action = self.action(findings);
        let clauses = Reader::new(place, action, findings).clauses(self);
        let is_dry_run = is_dry_run(place, findings);
        if is_dry_run && action == AuthorizationAction::Custom {
            findings.warned(
                "metadata.annotations[istio.io/dry-run]",
                "a policy that asks a service cannot be only watched, so this one does nothing",
            );
        }
        let provider = self.provider.as_ref().filter(|it| !it.name.is_empty());
        let rule = AuthorizationRule {
            action,
            provider: provider.map(|it| it.name.as_str().into()),
            is_dry_run,
            clauses,
        };
        Some((target(self.selector(), place), Effect::Authorization(rule)))
    }

    fn advise(&self, place: &Place<'_>, findings: &mut Findings) {
        advice::advise(self, place, findings);
    }
}

impl Spec {
    /// Gateways or services that it is about.
    fn targets(&self) -> impl Iterator<Item = &TargetRef> {
        let several = self.target_refs.iter().flatten();
        self.target_ref.iter().chain(several)
    }

    fn action(&self, findings: &mut Findings) -> AuthorizationAction {
        if self.provider.is_some() && self.action != Action::Custom {
            findings.malformed(
                "spec.provider",
                "is asked for the action CUSTOM alone: leave it out",
            );
        }
        match self.action {
            Action::Allow => AuthorizationAction::Allow,
            Action::Deny => AuthorizationAction::Deny,
            Action::Audit => AuthorizationAction::Audit,
            Action::Custom => AuthorizationAction::Custom,
        }
    }
}

fn is_dry_run(place: &Place<'_>, findings: &mut Findings) -> bool {
    let annotations = place.meta.annotations.as_ref();
    match annotations.and_then(|it| it.dry_run.as_deref()) {
        Some("true") => true,
        None | Some("false") => false,
        Some(other) => {
            findings.warned(
                "metadata.annotations[istio.io/dry-run]",
                format!(
                    "{other:?} is neither \"true\" nor \"false\", so the policy is enforced: write \
                     one of them"
                ),
            );
            false
        }
    }
}

#[cfg(test)]
mod tests;
