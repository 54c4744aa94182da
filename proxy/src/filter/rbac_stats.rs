//! What the RBAC filters for connections and for requests count.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    config::rbac::Filter,
    rbac::{Enforcement, Verdict},
    stat_set,
    stats::{Reading, Registry, Scope, StatSet, Value, Within},
};

/// Policies that are counted one by one. Their names come from the configuration, which may change
/// for ever.
const MAX_POLICIES: usize = 1000;

stat_set! {
    /// `http.<stat_prefix>.rbac.[<rules_stat_prefix>.]*`, `<stat_prefix>.rbac.*` of connections. The shadow rules' stand behind
    /// `shadow_rules_stat_prefix`. With `track_per_rule_stats` each policy has the same, as
    /// `policy.<policy>.*`.
    pub(super) struct Decisions {
        /// Requests, or reads of connections, that the rules let through.
        allowed: Counter,
        /// Requests or connections that the rules did not let through.
        denied: Counter,
        /// Requests or reads that the shadow rules would have let through.
        shadow_allowed: Counter,
        /// Requests or reads that the shadow rules would not have let through.
        shadow_denied: Counter,
    }
}

/// What an RBAC filter counts, in all and by policy.
#[derive(Debug, Default)]
pub(super) struct RbacStats {
    rules_prefix: String,
    shadow_rules_prefix: String,
    all: Decisions,
    policies: Mutex<BTreeMap<Box<str>, Decisions>>,
}

// === impl RbacStats ===

impl RbacStats {
    pub(super) fn register(
        config: &Filter,
        registry: &Registry,
        scope: &Scope,
    ) -> Arc<Within<Self>> {
        let stats = Self {
            rules_prefix: behind_dot(&config.rules_stat_prefix),
            shadow_rules_prefix: behind_dot(&config.shadow_rules_stat_prefix),
            ..Self::default()
        };
        registry.register_within(scope.clone(), "rbac.", stats)
    }

    pub(super) fn count(&self, verdict: &Verdict<'_>, enforcement: Enforcement, by_policy: bool) {
        let counter = |decisions: &Decisions| match (enforcement, verdict.is_allowed) {
            (Enforcement::Enforced, true) => decisions.allowed.inc(),
            (Enforcement::Enforced, false) => decisions.denied.inc(),
            (Enforcement::Shadow, true) => decisions.shadow_allowed.inc(),
            (Enforcement::Shadow, false) => decisions.shadow_denied.inc(),
        };
        counter(&self.all);
        let Some(policy) = verdict.policy.filter(|_| by_policy) else {
            return;
        };
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if policies.len() < MAX_POLICIES || policies.contains_key(policy) {
            counter(policies.entry(policy.into()).or_default());
        }
    }

    /// What stands before a name.
    fn prefix(&self, name: &str) -> &str {
        match name.starts_with("shadow_") {
            true => &self.shadow_rules_prefix,
            false => &self.rules_prefix,
        }
    }
}

impl StatSet for RbacStats {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.all.visit(&mut |mut value| {
            let prefix = self.prefix(&value.name);
            value.name.to_mut().insert_str(0, prefix);
            visit(value);
        });
        let policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        for (policy, decisions) in &*policies {
            decisions.visit(&mut |mut value| {
                // Envoy makes those that something was counted for.
                if value.reading != Reading::Counter(0) {
                    let prefix = self.prefix(&value.name);
                    value.name = format!("{prefix}policy.{policy}.{}", value.name).into();
                    visit(value);
                }
            });
        }
    }
}

/// A prefix as it stands in names.
fn behind_dot(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!("{}.", prefix.trim_end_matches('.')),
    }
}
