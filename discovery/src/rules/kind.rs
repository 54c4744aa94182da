//! What all kinds of rules are alike in.

use std::{fmt, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Findings, Judgement, Selector, Settings, authorization_policy, destination_rule, gateway,
    peer_authentication, service_entry, virtual_service, workload_entry,
};
use crate::{
    kubernetes::{Problem, Problems, wire::Meta},
    model::{Attachment, Effect, Interner, NamespacedName, RuleName, Target},
};

/// An object of a kind of rule. Its status is nobody's business here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, bound = "S: RuleKind")]
pub struct RuleObject<S> {
    /// Metadata.
    pub metadata: Meta,
    /// What it says.
    pub spec: Option<S>,
}

/// A kind of rule, which is what its objects can say.
pub trait RuleKind: DeserializeOwned + Default + fmt::Debug + Send + Sync + 'static {
    /// Name of the kind.
    const KIND: &'static str;
    /// Its API group.
    const GROUP: &'static str;
    /// Versions in which it is written. They mean the same.
    const VERSIONS: &'static [&'static str];
    /// Where the API server has its objects.
    const PATH: &'static str;

    /// Which pods it is about, if it says that by labels.
    fn selector(&self) -> Option<&Selector>;

    /// What it attaches, and to whom; `None` if that is nothing. What cannot be honoured is found.
    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)>;

    /// Finds what is wrong to write beside that.
    fn advise(&self, place: &Place<'_>, findings: &mut Findings);

    /// The name of the rule that an object of that name is.
    #[must_use]
    fn rule(name: NamespacedName) -> RuleName {
        RuleName {
            kind: Self::KIND,
            name,
        }
    }
}

/// Where a rule stands, and what its meaning depends on.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Metadata of its object.
    pub meta: &'a Meta,
    /// Its namespace.
    pub namespace: &'a str,
    /// Texts that objects share.
    pub names: &'a Interner,
    /// What the meaning of rules depends on.
    pub settings: &'a Settings,
}

/// A kind of rule, whichever it is.
#[derive(Debug, Clone, Copy)]
pub struct KnownKind {
    /// Name of the kind.
    pub kind: &'static str,
    /// Its API group.
    pub group: &'static str,
    /// Where the API server has its objects.
    pub path: &'static str,
    versions: &'static [&'static str],
    judge: fn(&Value, &str, &Settings) -> Judgement,
    read: fn(Value) -> Result<Arc<dyn Rule>, PathError>,
}

/// An object of some kind of rule.
pub(crate) trait Rule: fmt::Debug + Send + Sync {
    /// Name of the kind.
    fn kind(&self) -> &'static str;
    fn meta(&self) -> &Meta;
    /// What it attaches, and to whom. `None` if that is nothing.
    fn attachment(
        &self,
        names: &Interner,
        settings: &Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Attachment>;
}

/// Why an object is none of its kind.
type PathError = serde_path_to_error::Error<serde_json::Error>;

/// Every kind of rule.
pub const KINDS: [KnownKind; 9] = [
    KnownKind::of::<peer_authentication::Spec>(),
    KnownKind::of::<authorization_policy::Spec>(),
    KnownKind::of::<gateway::Spec<gateway::Http>>(),
    KnownKind::of::<gateway::Spec<gateway::Grpc>>(),
    KnownKind::of::<gateway::ReferenceGrantSpec>(),
    KnownKind::of::<destination_rule::Spec>(),
    KnownKind::of::<virtual_service::Spec>(),
    KnownKind::of::<service_entry::Spec>(),
    KnownKind::of::<workload_entry::Spec>(),
];

// === impl KnownKind ===

impl KnownKind {
    const fn of<S: RuleKind>() -> Self {
        Self {
            kind: S::KIND,
            group: S::GROUP,
            path: S::PATH,
            versions: S::VERSIONS,
            judge: judge::<S>,
            read: read::<S>,
        }
    }

    /// The kind of an object that says this of itself.
    pub(crate) fn find(api_version: &str, kind: &str) -> Option<&'static Self> {
        const ALL: &[KnownKind] = &KINDS;
        let (group, version) = api_version.split_once('/')?;
        let is = |it: &&Self| it.kind == kind && it.group == group;
        ALL.iter()
            .find(is)
            .filter(|it| it.versions.contains(&version))
    }

    /// Judges an object of the kind in that namespace.
    #[must_use]
    pub fn judge(&self, object: &Value, namespace: &str, settings: &Settings) -> Judgement {
        (self.judge)(object, namespace, settings)
    }

    /// What an object of the kind attaches to whom, if it is one and attaches anything.
    #[must_use]
    pub fn attachment(&self, object: &Value, settings: &Settings) -> Option<Attachment> {
        let rule = self.read(object.clone()).ok()?;
        rule.attachment(&Interner::default(), settings, &mut Vec::new())
    }

    /// An object of the kind, if it is one.
    pub(crate) fn read(&self, object: Value) -> Result<Arc<dyn Rule>, PathError> {
        (self.read)(object)
    }
}

// === impl Place ===

impl Place<'_> {
    /// Whether its namespace is the one whose rules are about the whole mesh.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.namespace == &*self.settings.root_namespace
    }
}

// === impl Rule ===

impl<S: RuleKind> Rule for RuleObject<S> {
    fn kind(&self) -> &'static str {
        S::KIND
    }

    fn meta(&self) -> &Meta {
        &self.metadata
    }

    fn attachment(
        &self,
        names: &Interner,
        settings: &Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Attachment> {
        let mut problems = Problems::of(S::KIND, &self.metadata, problems);
        let name = problems.name(names)?;
        let place = Place {
            meta: &self.metadata,
            namespace: &name.namespace,
            names,
            settings,
        };
        let mut findings = Findings::default();
        let none = S::default();
        let said = self.spec.as_ref().unwrap_or(&none);
        let said = said.read(&place, &mut findings);
        findings.note(&mut problems);
        let (target, effect) = said?;
        Some(Attachment {
            rule: S::rule(name),
            created: self.metadata.created(),
            target,
            effect,
        })
    }
}

fn read<S: RuleKind>(object: Value) -> Result<Arc<dyn Rule>, PathError> {
    let object: RuleObject<S> = serde_path_to_error::deserialize(object)?;
    Ok(Arc::new(object))
}

fn judge<S: RuleKind>(object: &Value, namespace: &str, settings: &Settings) -> Judgement {
    let RuleObject { metadata, spec } = match serde_path_to_error::deserialize(object) {
        Ok(object) => object,
        Err(error) => {
            let error = format!("{}: {}", error.path(), error.inner());
            return Judgement {
                errors: vec![error],
                ..Judgement::default()
            };
        }
    };
    let spec: S = spec.unwrap_or_default();
    let names = Interner::default();
    let place = Place {
        meta: &metadata,
        namespace,
        names: &names,
        settings,
    };
    let mut findings = Findings::default();
    if let Some(selector) = spec.selector() {
        selector.advise(&mut findings);
    }
    // What it attaches is read for what is found meanwhile.
    let _attached = spec.read(&place, &mut findings);
    spec.advise(&place, &mut findings);
    findings.into()
}
