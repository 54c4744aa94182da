//! `security.istio.io` `AuthorizationPolicy`: who may connect to a pod, and do what there.
//!
//! Where a part of a policy cannot be honoured, nobody is let in by it: of a policy that allows, the
//! rule with that part is left out; of one that denies, the part counts as if it held.

mod values;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Selector, Settings, texts};
use crate::{
    kubernetes::{Problem, Problems, wire::Meta},
    model::{
        Attachment, Attribute, AuthorizationAction, AuthorizationRule, Clause, Condition, Effect,
        Interner, NamespacedName, RuleName, Target,
    },
};

/// Name of the kind.
pub const KIND: &str = "AuthorizationPolicy";
/// Versions in which it is written. They mean the same.
pub const VERSIONS: [&str; 2] = ["security.istio.io/v1", "security.istio.io/v1beta1"];

/// The object. Its status is nobody's business here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AuthorizationPolicy {
    /// Metadata.
    pub metadata: Meta,
    /// What it says. One that says nothing allows nothing.
    pub spec: Option<Spec>,
}

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// Of which pods; of all where it selects none.
    pub selector: Option<Selector>,
    /// Of which gateways or services, which is not for sidecars.
    pub target_ref: Option<serde_json::Value>,
    /// The same of several.
    pub target_refs: Option<Vec<serde_json::Value>>,
    /// What it is about.
    pub rules: Option<Vec<Rule>>,
    /// What becomes of that.
    pub action: Action,
    /// Whom to ask where that is `CUSTOM`.
    pub provider: Option<serde_json::Value>,
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

/// Fields of a source, each beside the one that excludes.
const SOURCE: [(&str, &str, Attribute); 7] = [
    ("principals", "notPrincipals", Attribute::Principal),
    (
        "requestPrincipals",
        "notRequestPrincipals",
        Attribute::Token,
    ),
    ("namespaces", "notNamespaces", Attribute::Namespace),
    (
        "serviceAccounts",
        "notServiceAccounts",
        Attribute::ServiceAccount,
    ),
    ("trustDomains", "notTrustDomains", Attribute::TrustDomain),
    ("ipBlocks", "notIpBlocks", Attribute::SourceIp),
    ("remoteIpBlocks", "notRemoteIpBlocks", Attribute::RemoteIp),
];

/// The same of an operation.
const OPERATION: [(&str, &str, Attribute); 4] = [
    ("hosts", "notHosts", Attribute::Host),
    ("methods", "notMethods", Attribute::Method),
    ("paths", "notPaths", Attribute::Path),
    ("ports", "notPorts", Attribute::DestinationPort),
];

/// The name of the rule that an `AuthorizationPolicy` of that name is.
#[must_use]
pub fn rule(name: NamespacedName) -> RuleName {
    RuleName { kind: KIND, name }
}

/// What it attaches, and to whom. `None` if that is nothing.
pub fn authorization_policy(
    object: &AuthorizationPolicy,
    names: &Interner,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Option<Attachment> {
    let mut problems = Problems::of(KIND, &object.metadata, problems);
    let name = problems.name(names)?;
    let none = Spec::default();
    let spec = object.spec.as_ref().unwrap_or(&none);
    if spec.target_ref.is_some() || spec.target_refs.as_ref().is_some_and(|all| !all.is_empty()) {
        problems.push(
            "spec.targetRefs",
            "a policy for gateways, waypoints or services says nothing to sidecars: it is left \
             out (select pods by spec.selector)",
        );
        return None;
    }
    let of_root = name.namespace == settings.root_namespace;
    let target = match spec.selector.as_ref().and_then(Selector::labels) {
        Some(labels) if of_root => Target::MeshWorkloads(texts(labels, names)),
        Some(labels) => Target::Workloads(texts(labels, names)),
        None if of_root => Target::Mesh,
        None => Target::Namespace,
    };
    let action = action(spec, &mut problems);
    let mut reader = Reader {
        names,
        namespace: &name.namespace.clone(),
        action,
        problems,
    };
    let clauses = reader.clauses(spec);
    Some(Attachment {
        rule: rule(name),
        created: object.metadata.created(),
        effect: Effect::Authorization(AuthorizationRule {
            action,
            is_dry_run: is_dry_run(object, &mut reader.problems),
            clauses,
        }),
        target,
    })
}

/// Nobody can be asked, so that what would be asked about is refused.
fn action(spec: &Spec, problems: &mut Problems<'_>) -> AuthorizationAction {
    if spec.provider.is_some() && spec.action != Action::Custom {
        problems.push(
            "spec.provider",
            "is asked for the action CUSTOM alone: it is left out",
        );
    }
    match spec.action {
        Action::Allow => AuthorizationAction::Allow,
        Action::Deny => AuthorizationAction::Deny,
        Action::Audit => AuthorizationAction::Audit,
        Action::Custom => {
            problems.push(
                "spec.action",
                "CUSTOM is not supported yet: what the policy is about is refused (use ALLOW or \
                 DENY)",
            );
            AuthorizationAction::Deny
        }
    }
}

fn is_dry_run(object: &AuthorizationPolicy, problems: &mut Problems<'_>) -> bool {
    let annotations = object.metadata.annotations.as_ref();
    match annotations.and_then(|it| it.dry_run.as_deref()) {
        Some("true") => true,
        None | Some("false") => false,
        Some(other) => {
            problems.push(
                "metadata.annotations[istio.io/dry-run]",
                format!("{other:?} is neither \"true\" nor \"false\": the policy is enforced"),
            );
            false
        }
    }
}

/// Reads the rules of a policy.
struct Reader<'a> {
    names: &'a Interner,
    namespace: &'a str,
    action: AuthorizationAction,
    problems: Problems<'a>,
}

/// A part that cannot be honoured, of which a problem speaks.
struct NotHonoured;

// === impl Reader ===

impl Reader<'_> {
    fn clauses(&mut self, spec: &Spec) -> Vec<Clause> {
        let rules = spec.rules.iter().flatten().enumerate();
        if self.action != AuthorizationAction::Allow
            && spec.rules.as_ref().is_none_or(Vec::is_empty)
        {
            self.problems.push(
                "spec.rules",
                "a policy without rules that does not allow says nothing",
            );
        }
        rules
            .filter_map(|(index, rule)| self.clause(index, rule).ok())
            .collect()
    }

    fn clause(&mut self, index: usize, rule: &Rule) -> Result<Clause, NotHonoured> {
        let at = format!("spec.rules[{index}]");
        let mut sources = Vec::new();
        for (place, from) in rule.from.iter().flatten().enumerate() {
            let at = format!("{at}.from[{place}].source");
            sources.push(self.fields(&at, &from.source, &SOURCE)?);
        }
        let mut operations = Vec::new();
        for (place, to) in rule.to.iter().flatten().enumerate() {
            let at = format!("{at}.to[{place}].operation");
            operations.push(self.fields(&at, &to.operation, &OPERATION)?);
        }
        let mut conditions = Vec::new();
        for (place, when) in rule.when.iter().flatten().enumerate() {
            let at = format!("{at}.when[{place}]");
            let condition = self.when(&at, when);
            conditions.extend(self.or_held(condition)?);
        }
        Ok(Clause {
            index,
            sources,
            operations,
            conditions,
        })
    }

    /// What must hold, if that can be said; `None` if it counts as holding.
    fn or_held(
        &self,
        condition: Result<Condition, NotHonoured>,
    ) -> Result<Option<Condition>, NotHonoured> {
        match condition {
            Ok(condition) => Ok(Some(condition)),
            Err(NotHonoured) if self.action == AuthorizationAction::Deny => Ok(None),
            Err(NotHonoured) => Err(NotHonoured),
        }
    }

    fn fields(
        &mut self,
        at: &str,
        said: &BTreeMap<String, Vec<String>>,
        known: &[(&str, &str, Attribute)],
    ) -> Result<Vec<Condition>, NotHonoured> {
        let mut conditions = Vec::new();
        if said.is_empty() {
            self.problems.push(at, "must name something");
            self.or_held(Err(NotHonoured))?;
        }
        let is_known = |field: &str| {
            known
                .iter()
                .any(|(one, not, _)| [*one, *not].contains(&field))
        };
        for field in said.keys().filter(|field| !is_known(field)) {
            self.problems.push(format!("{at}.{field}"), "is not known");
            self.or_held(Err(NotHonoured))?;
        }
        for (one, not, attribute) in known {
            let (values, not_values) = (said.get(*one), said.get(*not));
            if values.is_none() && not_values.is_none() {
                continue;
            }
            let [at_values, at_not] = [one, not].map(|field| format!("{at}.{field}"));
            let condition = self.condition(
                attribute,
                (&at_values, values.map_or(&[], Vec::as_slice)),
                (&at_not, not_values.map_or(&[], Vec::as_slice)),
            );
            conditions.extend(self.or_held(condition)?);
        }
        Ok(conditions)
    }

    fn when(&mut self, at: &str, when: &When) -> Result<Condition, NotHonoured> {
        let Some(attribute) = self.attribute(&when.key) else {
            self.problems.push(
                format!("{at}.key"),
                format!("{:?} is not an attribute that is known here", when.key),
            );
            return Err(NotHonoured);
        };
        self.condition(
            &attribute,
            (
                &format!("{at}.values"),
                when.values.as_deref().unwrap_or_default(),
            ),
            (
                &format!("{at}.notValues"),
                when.not_values.as_deref().unwrap_or_default(),
            ),
        )
    }

    fn attribute(&self, key: &str) -> Option<Attribute> {
        Some(match key {
            "source.ip" => Attribute::SourceIp,
            "remote.ip" => Attribute::RemoteIp,
            "source.namespace" => Attribute::Namespace,
            "source.principal" => Attribute::Principal,
            "source.serviceAccount" => Attribute::ServiceAccount,
            "source.trustDomain" => Attribute::TrustDomain,
            "destination.ip" => Attribute::DestinationIp,
            "destination.port" => Attribute::DestinationPort,
            "connection.sni" => Attribute::ServerName,
            "request.auth.principal" | "request.auth.audiences" | "request.auth.presenter" => {
                Attribute::Token
            }
            _ if key.starts_with("request.auth.claims[") => Attribute::Token,
            _ => {
                let name = key.strip_prefix("request.headers[")?.strip_suffix(']')?;
                (!name.is_empty()).then(|| Attribute::Header(self.names.text(name)))?
            }
        })
    }

    fn condition(
        &mut self,
        attribute: &Attribute,
        (at_values, values): (&str, &[String]),
        (at_not, not_values): (&str, &[String]),
    ) -> Result<Condition, NotHonoured> {
        if values.is_empty() && not_values.is_empty() {
            self.problems.push(at_values, "must not be empty");
            return Err(NotHonoured);
        }
        let mut read = |at: &str, values: &[String]| {
            let mut read = Vec::with_capacity(values.len());
            for (index, text) in values.iter().enumerate() {
                match values::value(attribute, text, self.namespace, self.names) {
                    Ok(value) => read.push(value),
                    Err(reason) => {
                        self.problems.push(format!("{at}[{index}]"), reason);
                        return Err(NotHonoured);
                    }
                }
            }
            Ok(read)
        };
        Ok(Condition {
            attribute: attribute.clone(),
            values: read(at_values, values)?,
            not_values: read(at_not, not_values)?,
        })
    }
}

#[cfg(test)]
mod tests;
