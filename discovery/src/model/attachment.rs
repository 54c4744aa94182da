//! What rules that people wrote mean for workloads and services. What kind of object a rule is, nothing here asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use weir_api::inbound_tls::{InboundTls, TlsMode};

use super::{
    AuthorizationAction, AuthorizationRule, Caller, DestinationRule, DestinationRules, Entries,
    EntryEndpoint, Grant,
    HostScope, NamespacedName, Pod, Routing, Routings, ServiceEntry,
};

/// Labels of a pod, or those that a rule asks for.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// What one rule attaches to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The object that says it.
    pub rule: RuleName,
    /// When that was created, in seconds since 1970: of several at one level the oldest counts.
    pub created: Option<i64>,
    /// Whom it is about.
    pub target: Target,
    /// What it says of them.
    pub effect: Effect,
}

/// Tells objects of all kinds of rules apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The kind.
    pub kind: &'static str,
    /// Namespace and name.
    pub name: NamespacedName,
}

/// Whom a rule is about. The narrower counts for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All pods.
    Mesh,
    /// The pods of the rule's namespace.
    Namespace,
    /// The pods of the rule's namespace that have all these labels.
    Workloads(Labels),
    /// The pods of any namespace that have all these labels.
    MeshWorkloads(Labels),
    /// Services, which the rule names itself.
    Services,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Whether whoever connects must, may or cannot use mutual TLS.
    InboundTls(InboundTlsRule),
    /// Who may do what.
    Authorization(AuthorizationRule),
    /// What becomes of requests to services.
    Routing(Box<Routing>),
    /// Who may refer to services of the rule's namespace.
    Grants(Vec<Grant>),
    /// How callers connect to services.
    Destination(Box<DestinationRule>),
    /// Services that the cluster does not declare.
    Entry(Arc<ServiceEntry>),
    /// A workload that is no pod.
    Workload(Box<EntryEndpoint>),
}

/// What one rule says of TLS. What it leaves open, the wider rule says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundTlsRule {
    /// On every port.
    pub mode: Option<TlsMode>,
    /// On single ports of the pod.
    pub ports: BTreeMap<u16, TlsMode>,
}

/// All attachments, by the level they are at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachments {
    mesh: Level,
    namespaces: BTreeMap<Arc<str>, Level>,
    routings: Routings,
    destinations: DestinationRules,
    entries: Entries,
}

/// Oldest first, then by name.
type Level = BTreeMap<(i64, RuleName), Arc<Attachment>>;

// === impl RuleName ===

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl Attachments ===

impl Attachments {
    pub(super) fn insert(&mut self, attachment: Arc<Attachment>) {
        self.remove(&attachment.rule);
        let rule = attachment.rule.clone();
        let created = attachment.created.unwrap_or(i64::MAX);
        match attachment.effect {
            Effect::Routing(_) | Effect::Grants(_) => return self.routings.insert(attachment),
            Effect::Destination(_) => return self.destinations.insert(attachment),
            Effect::Entry(_) | Effect::Workload(_) => return self.entries.insert(attachment),
            Effect::InboundTls(_) | Effect::Authorization(_) => {}
        }
        let level = match attachment.target {
            Target::Mesh | Target::MeshWorkloads(_) => &mut self.mesh,
            Target::Namespace | Target::Workloads(_) | Target::Services => self
                .namespaces
                .entry(rule.name.namespace.clone())
                .or_default(),
        };
        level.insert((created, rule), attachment);
    }

    pub(super) fn remove(&mut self, rule: &RuleName) {
        self.routings.remove(rule);
        self.destinations.remove(rule);
        self.entries.remove(rule);
        self.mesh.retain(|(_, other), _| other != rule);
        let namespace = &rule.name.namespace;
        if let Some(level) = self.namespaces.get_mut(namespace) {
            level.retain(|(_, other), _| other != rule);
            if level.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// What is attached by a rule.
    #[must_use]
    pub fn get(&self, rule: &RuleName) -> Option<&Arc<Attachment>> {
        let local = self.namespaces.get(&rule.name.namespace);
        let mut all = self.mesh.iter().chain(local.into_iter().flatten());
        let found = all.find_map(|((_, other), attachment)| (other == rule).then_some(attachment));
        let of_services = || {
            self.routings
                .get(rule)
                .or_else(|| self.destinations.get(rule))
                .or_else(|| self.entries.get(rule))
        };
        found.or_else(of_services)
    }

    /// What rules say of requests to services.
    #[must_use]
    pub fn routings(&self) -> &Routings {
        &self.routings
    }

    /// What rules say of the other end of calls.
    #[must_use]
    pub fn destinations(&self) -> &DestinationRules {
        &self.destinations
    }

    /// The services that rules declare.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// A caller in that namespace with these labels, as far as rules about one of these services ask
    /// for them.
    #[must_use]
    pub fn caller(
        &self,
        namespace: &Arc<str>,
        labels: Option<&Labels>,
        services: &BTreeSet<NamespacedName>,
    ) -> Caller {
        let scopes: BTreeSet<_> = services.iter().flat_map(HostScope::around).collect();
        let asked = scopes.iter().flat_map(|scope| {
            let of_routes = self.routings.asked_at(scope).into_iter();
            of_routes.chain(self.destinations.asked_at(scope))
        });
        let said = asked.filter_map(|key| labels?.get_key_value(key));
        let said = said.map(|(key, value)| (key.clone(), value.clone()));
        Caller {
            namespace: namespace.clone(),
            labels: said.collect(),
        }
    }

    /// Whether these say the same of pods.
    pub(super) fn are_alike_for_pods(&self, other: &Self) -> bool {
        self.mesh == other.mesh && self.namespaces == other.namespaces
    }

    /// The rules about the same pods as this one, where of several only the first counts.
    pub fn rivals(&self, attachment: &Attachment) -> impl Iterator<Item = &RuleName> {
        let level = match attachment.target {
            Target::Mesh | Target::MeshWorkloads(_) => Some(&self.mesh),
            _ => self.namespaces.get(&attachment.rule.name.namespace),
        };
        let all = level.into_iter().flat_map(BTreeMap::values);
        let rivals = all.filter(move |it| {
            let alone = |it: &Attachment| it.effect.inbound_tls().is_some();
            alone(attachment) && alone(it) && it.target == attachment.target
        });
        rivals.map(|it| &it.rule)
    }

    /// How connections to a pod are served.
    #[must_use]
    pub fn inbound_tls_of(&self, pod: &Pod) -> InboundTls {
        self.inbound_tls(&pod.name.namespace, &pod.labels)
    }

    /// The same of a pod in that namespace and with these labels. At each level the oldest rule
    /// counts alone; what it leaves open, the level around it says, and permissive is the last word.
    #[must_use]
    pub fn inbound_tls(&self, namespace: &str, labels: &Labels) -> InboundTls {
        let around = self.inbound_tls_around(namespace);
        let of_workload = self.tls_of(namespace).find(|(it, _)| it.selects(labels));
        match of_workload {
            Some((_, said)) => said.within(around),
            None => around,
        }
    }

    /// The same of a pod of which nothing is known but its namespace: whatever a rule may demand of
    /// it, for it may be one that the rule selects.
    #[must_use]
    pub fn inbound_tls_of_unknown(&self, namespace: &str) -> InboundTls {
        let around = self.inbound_tls_around(namespace);
        let of_workloads = self.tls_of(namespace);
        let of_workloads = of_workloads.filter(|(it, _)| matches!(it, Target::Workloads(_)));
        of_workloads.fold(around.clone(), |strictest, (_, said)| {
            strictest.stricter(&said.within(around.clone()))
        })
    }

    /// What the mesh and the namespace say.
    fn inbound_tls_around(&self, namespace: &str) -> InboundTls {
        let mesh = self.mesh.values().find_map(|it| it.effect.inbound_tls());
        let of_namespace = self.tls_of(namespace);
        let of_namespace = { of_namespace }.find(|(it, _)| **it == Target::Namespace);
        let levels = mesh.into_iter().chain(of_namespace.map(|(_, said)| said));
        levels.fold(InboundTls::default(), |around, said| said.within(around))
    }

    /// What rules of a namespace say of TLS, the oldest first.
    fn tls_of(&self, namespace: &str) -> impl Iterator<Item = (&Target, &InboundTlsRule)> {
        let local = self.local(namespace);
        local.filter_map(|it| Some((&it.target, it.effect.inbound_tls()?)))
    }

    /// Who may do what at a pod: all that rules say of it, in the order of their actions.
    #[must_use]
    pub fn authorization_of(&self, pod: &Pod) -> Vec<Arc<Attachment>> {
        self.authorization(&pod.name.namespace, &pod.labels)
    }

    /// The same of a pod in that namespace and with these labels.
    #[must_use]
    pub fn authorization(&self, namespace: &str, labels: &Labels) -> Vec<Arc<Attachment>> {
        self.authorization_where(namespace, |target| match target {
            Target::Mesh | Target::Namespace => true,
            Target::Services => false,
            Target::Workloads(_) | Target::MeshWorkloads(_) => target.selects(labels),
        })
    }

    /// The same of a pod of which nothing is known but its namespace; `None` if a rule may select it,
    /// so that nobody can say whom it would refuse.
    #[must_use]
    pub fn authorization_of_unknown(&self, namespace: &str) -> Option<Vec<Arc<Attachment>>> {
        let selects = |it: &Target| matches!(it, Target::Workloads(_) | Target::MeshWorkloads(_));
        let may_be_more = !self.authorization_where(namespace, selects).is_empty();
        (!may_be_more).then(|| self.authorization_where(namespace, |_| true))
    }

    /// Whether a rule refuses anybody at a pod in that namespace and with these labels.
    #[must_use]
    pub fn is_guarded(&self, namespace: &str, labels: &Labels) -> bool {
        let rules = self.authorization(namespace, labels);
        let mut rules = rules.iter().filter_map(|it| it.effect.authorization());
        rules.any(|it| !it.is_dry_run && it.action != AuthorizationAction::Audit)
    }

    fn authorization_where(
        &self,
        namespace: &str,
        is_about: impl Fn(&Target) -> bool,
    ) -> Vec<Arc<Attachment>> {
        let all = self.mesh.values().chain(self.local(namespace));
        let mut all: Vec<_> = all
            .filter(|it| it.effect.authorization().is_some() && is_about(&it.target))
            .cloned()
            .collect();
        let action = |it: &Attachment| it.effect.authorization().map(|it| it.action);
        all.sort_by(|one, other| (action(one), &one.rule).cmp(&(action(other), &other.rule)));
        all
    }

    /// What is attached in a namespace, the oldest first.
    fn local(&self, namespace: &str) -> impl Iterator<Item = &Arc<Attachment>> {
        let local = self.namespaces.get(namespace);
        local.into_iter().flat_map(BTreeMap::values)
    }
}

// === impl Effect ===

impl Effect {
    fn inbound_tls(&self) -> Option<&InboundTlsRule> {
        match self {
            Self::InboundTls(said) => Some(said),
            _ => None,
        }
    }

    /// Who may do what, if it says that.
    #[must_use]
    pub fn authorization(&self) -> Option<&AuthorizationRule> {
        match self {
            Self::Authorization(said) => Some(said),
            _ => None,
        }
    }

    /// What becomes of requests, if it says that.
    #[must_use]
    pub fn routing(&self) -> Option<&Routing> {
        match self {
            Self::Routing(said) => Some(said),
            _ => None,
        }
    }

    /// Who may refer to services, if it says that.
    pub(super) fn grants(&self) -> &[Grant] {
        match self {
            Self::Grants(said) => said,
            _ => &[],
        }
    }

    /// The services that it declares, if it does.
    #[must_use]
    pub fn entry(&self) -> Option<&Arc<ServiceEntry>> {
        match self {
            Self::Entry(said) => Some(said),
            _ => None,
        }
    }

    /// The workload that it is, if it is one.
    #[must_use]
    pub fn workload(&self) -> Option<&EntryEndpoint> {
        match self {
            Self::Workload(said) => Some(said),
            _ => None,
        }
    }

    /// How callers connect, if it says that.
    #[must_use]
    pub fn destination(&self) -> Option<&DestinationRule> {
        match self {
            Self::Destination(said) => Some(said),
            _ => None,
        }
    }
}

// === impl InboundTlsRule ===

impl InboundTlsRule {
    /// What is in force where the level around says that.
    fn within(&self, mut around: InboundTls) -> InboundTls {
        around.mode = self.mode.unwrap_or(around.mode);
        around.ports.extend(&self.ports);
        around
    }
}

// === impl Target ===

impl Target {
    /// Whether it selects pods, those with these labels among them.
    fn selects(&self, labels: &Labels) -> bool {
        match self {
            Self::Mesh | Self::Namespace | Self::Services => false,
            Self::Workloads(asked) | Self::MeshWorkloads(asked) => asked
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value)),
        }
    }
}
