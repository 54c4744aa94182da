//! `security.istio.io` `RequestAuthentication`: whose tokens of requests count at a pod.
//!
//! <https://istio.io/latest/docs/reference/config/security/request_authentication/>

mod jwt_rule;

use serde::Deserialize;

use super::{
    Findings, Place, RuleKind, RuleObject, Selector, authorization_policy::TargetRef, target,
};
use crate::model::{Effect, Target, TokenRule};

pub use jwt_rule::{ClaimToHeader, JwtHeader, JwtRule};

/// The object. One that names nobody says nothing.
pub type RequestAuthentication = RuleObject<Spec>;

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
    /// Who issues tokens.
    pub jwt_rules: Option<Vec<JwtRule>>,
}

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "RequestAuthentication";
    const GROUP: &'static str = "security.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const PATH: &'static str = "/apis/security.istio.io/v1/requestauthentications";

    fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        if self.targets() > 0 {
            findings.warned(
                "spec.targetRefs",
                "a rule for gateways, waypoints or services says nothing to sidecars, so this one is \
                 left out: select pods by spec.selector",
            );
            return None;
        }
        let rules = self.jwt_rules.iter().flatten().enumerate();
        let issuers = rules.filter_map(|(index, rule)| {
            rule.issuer(&format!("spec.jwtRules[{index}]"), place.names, findings)
        });
        let issuers: Vec<_> = issuers.collect();
        let rule = Effect::Tokens(TokenRule { issuers });
        Some((target(self.selector(), place), rule))
    }

    fn advise(&self, _: &Place<'_>, findings: &mut Findings) {
        if self.targets() > 0 && self.selector.is_some() {
            findings.malformed(
                "spec.targetRefs",
                "stands beside spec.selector: write one of them",
            );
        }
        if self.jwt_rules.as_ref().is_none_or(Vec::is_empty) && self.targets() == 0 {
            findings.warned(
                "spec.jwtRules",
                "names nobody, so the rule says nothing: name who issues tokens",
            );
        }
    }
}

impl Spec {
    /// How many gateways or services it is about.
    fn targets(&self) -> usize {
        let several = self.target_refs.as_ref().map_or(0, Vec::len);
        several + usize::from(self.target_ref.is_some())
    }
}

#[cfg(test)]
mod tests;
