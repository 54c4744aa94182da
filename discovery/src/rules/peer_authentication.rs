//! `security.istio.io` `PeerAuthentication`: whether whoever connects to a pod must, may or cannot
//! use mutual TLS.

mod validate;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Selector, Settings, texts};
use crate::{
    kubernetes::{Problem, Problems, wire::Meta},
    model::{Attachment, Effect, InboundTlsRule, Interner, RuleName, Target, TlsMode},
};

pub use validate::{Judgement, judge};

/// API group of the kind.
pub const GROUP: &str = "security.istio.io";
/// Name of the kind.
pub const KIND: &str = "PeerAuthentication";
/// Versions in which it is written. They mean the same.
pub const VERSIONS: [&str; 2] = ["security.istio.io/v1", "security.istio.io/v1beta1"];

/// The object. Its status is nobody's business here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PeerAuthentication {
    /// Metadata.
    pub metadata: Meta,
    /// What it demands. One that demands nothing leaves all to the level around it.
    pub spec: Option<Spec>,
}

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

/// The name of the rule that a `PeerAuthentication` of that name is.
#[must_use]
pub fn rule(name: crate::model::NamespacedName) -> RuleName {
    RuleName { kind: KIND, name }
}

/// What it attaches, and to whom. `None` if that is nothing.
pub fn peer_authentication(
    object: &PeerAuthentication,
    names: &Interner,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Option<Attachment> {
    let mut problems = Problems::of(KIND, &object.metadata, problems);
    let name = problems.name(names)?;
    let none = Spec::default();
    let spec = object.spec.as_ref().unwrap_or(&none);
    let labels = spec.selector.as_ref().and_then(Selector::labels);
    let of_root = name.namespace == settings.root_namespace;
    let target = match labels {
        Some(_) if of_root => {
            problems.push(
                "spec.selector",
                "a rule of the root namespace is about the whole mesh and selects no pods: \
                 it is left out",
            );
            return None;
        }
        Some(labels) => Target::Workloads(texts(labels, names)),
        None if of_root => Target::Mesh,
        None => Target::Namespace,
    };
    Some(Attachment {
        rule: rule(name),
        created: object.metadata.created(),
        effect: Effect::InboundTls(InboundTlsRule {
            mode: spec.mtls.and_then(|mtls| mtls.mode.said()),
            ports: ports(spec, &target, &mut problems),
        }),
        target,
    })
}

/// Ports of pods that differ in what they listen on mean nothing, so only a rule that selects pods
/// may name some.
fn ports(spec: &Spec, target: &Target, problems: &mut Problems<'_>) -> BTreeMap<u16, TlsMode> {
    let ports = spec.port_level_mtls.iter().flatten();
    if !matches!(target, Target::Workloads(_)) {
        if ports.count() > 0 {
            problems.push(
                "spec.portLevelMtls",
                "only a rule with a selector may name ports: they are left out",
            );
        }
        return BTreeMap::new();
    }
    let said = ports.filter_map(|(port, mtls)| Some((*port, mtls.mode.said()?)));
    let (wrong, good) = said.partition::<BTreeMap<_, _>, _>(|(port, _)| *port == 0);
    if !wrong.is_empty() {
        problems.push("spec.portLevelMtls.0", "0 is not a port (1 to 65535)");
    }
    good
}

#[cfg(test)]
mod tests;
