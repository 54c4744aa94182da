//! `security.istio.io` `PeerAuthentication`: whether whoever connects to a pod must, may or cannot
//! use mutual TLS.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Findings, Place, RuleKind, RuleObject, Selector, target};
use crate::model::{Effect, InboundTlsRule, Target, TlsMode};

/// The object. One that demands nothing leaves all to the level around it.
pub type PeerAuthentication = RuleObject<Spec>;

/// What it demands.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// Of which pods of its namespace; of all where it selects none.
    pub selector: Option<Selector>,
    /// On all ports.
    pub mtls: Option<MutualTls>,
    /// On single ports of the pod, which are not those of services.
    pub port_level_mtls: Option<BTreeMap<u16, MutualTls>>,
}

/// How.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MutualTls {
    /// The mode.
    pub mode: Mode,
}

/// Whether mutual TLS is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// As the level around it says.
    #[default]
    Unset,
    /// It is not.
    Disable,
    /// Who can uses it.
    Permissive,
    /// Who does not is refused.
    Strict,
}

// === impl Mode ===

impl Mode {
    fn said(self) -> Option<TlsMode> {
        match self {
            Self::Unset => None,
            Self::Disable => Some(TlsMode::Disable),
            Self::Permissive => Some(TlsMode::Permissive),
            Self::Strict => Some(TlsMode::Strict),
        }
    }
}

// === impl Spec ===

impl RuleKind for Spec {
    const KIND: &'static str = "PeerAuthentication";
    const GROUP: &'static str = "security.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const PATH: &'static str = "/apis/security.istio.io/v1/peerauthentications";

    fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        let target = target(self.selector(), place);
        if matches!(target, Target::MeshWorkloads(_)) {
            findings.warned(
                "spec.selector",
                format!(
                    "a rule in {} is about the whole mesh and selects no pods, so this one is left \
                     out: write it in the pods' namespace",
                    place.namespace
                ),
            );
            return None;
        }
        let effect = Effect::InboundTls(InboundTlsRule {
            mode: self.mtls.and_then(|mtls| mtls.mode.said()),
            ports: self.ports(&target, findings),
        });
        Some((target, effect))
    }

    fn advise(&self, _: &Place<'_>, findings: &mut Findings) {
        if self
            .port_level_mtls
            .as_ref()
            .is_some_and(BTreeMap::is_empty)
        {
            findings.malformed(
                "spec.portLevelMtls",
                "names no port: leave it out, or name one",
            );
        }
    }
}

impl Spec {
    /// Ports of pods that differ in what they listen on mean nothing, so only a rule that selects pods
    /// may name some.
    fn ports(&self, target: &Target, findings: &mut Findings) -> BTreeMap<u16, TlsMode> {
        let ports = self.port_level_mtls.iter().flatten();
        if !matches!(target, Target::Workloads(_)) {
            if ports.count() > 0 {
                findings.malformed(
                    "spec.portLevelMtls",
                    "ports are those of the pods that spec.selector selects, and without it they are \
                     left out: select some, or use spec.mtls",
                );
            }
            return BTreeMap::new();
        }
        let (wrong, good) = ports.partition::<Vec<_>, _>(|(port, _)| **port == 0);
        if !wrong.is_empty() {
            findings.malformed("spec.portLevelMtls[0]", "0 is not a port (1 to 65535)");
        }
        let said = good.into_iter();
        said.filter_map(|(port, mtls)| Some((*port, mtls.mode.said()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
