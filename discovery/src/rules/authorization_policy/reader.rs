//! The rules of a policy to clauses of the model.

use std::collections::BTreeMap;

use super::{
    Action, Rule, Spec, When,
    fields::{EXPERIMENTAL, Field, OPERATION, SOURCE, attribute},
    values,
};
use crate::{
    model::{Attribute, AuthorizationAction, Clause, Condition},
    rules::{Findings, Place},
};

/// Reads the rules of a policy.
pub(super) struct Reader<'a> {
    place: &'a Place<'a>,
    action: AuthorizationAction,
    findings: &'a mut Findings,
    /// Parts of the current rule that cannot be honoured.
    not_honoured: usize,
}

/// Values of one attribute, and where they stand.
struct Values<'a> {
    at: String,
    said: &'a [String],
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(
        place: &'a Place<'a>,
        action: AuthorizationAction,
        findings: &'a mut Findings,
    ) -> Self {
        Self {
            place,
            action,
            findings,
            not_honoured: 0,
        }
    }

    pub(super) fn clauses(mut self, spec: &Spec) -> Vec<Clause> {
        let rules = spec.rules.as_deref().unwrap_or_default();
        if rules.is_empty() {
            self.without_rules(spec.action);
        }
        let rules = rules.iter().enumerate();
        rules
            .filter_map(|(index, rule)| self.clause(index, rule))
            .collect()
    }

    fn without_rules(&mut self, action: Action) {
        let reason =
            "a policy without rules that does not allow says nothing: write [{}] for all there is";
        match action {
            Action::Allow => {}
            Action::Audit => self.findings.warned("spec.rules", reason),
            Action::Deny | Action::Custom => self.findings.malformed("spec.rules", reason),
        }
    }

    /// What a rule is about. Of one that refuses, what cannot be honoured counts as holding; another
    /// one is left out.
    fn clause(&mut self, index: usize, rule: &Rule) -> Option<Clause> {
        self.not_honoured = 0;
        let at = format!("spec.rules[{index}]");
        let mut clause = Clause {
            index,
            sources: Vec::new(),
            operations: Vec::new(),
            conditions: Vec::new(),
        };
        for (place, from) in rule.from.iter().flatten().enumerate() {
            let at = format!("{at}.from[{place}].source");
            clause.sources.push(self.fields(&at, &from.source, &SOURCE));
        }
        for (place, to) in rule.to.iter().flatten().enumerate() {
            let at = format!("{at}.to[{place}].operation");
            let operation = self.fields(&at, &to.operation, &OPERATION);
            clause.operations.push(operation);
        }
        for (place, when) in rule.when.iter().flatten().enumerate() {
            let condition = self.when(&format!("{at}.when[{place}]"), when);
            clause.conditions.extend(condition);
        }
        let counts = self.not_honoured == 0
            || matches!(
                self.action,
                AuthorizationAction::Deny | AuthorizationAction::Custom
            );
        counts.then_some(clause)
    }

    fn fields(
        &mut self,
        at: &str,
        said: &BTreeMap<String, Vec<String>>,
        known: &[Field],
    ) -> Vec<Condition> {
        if said.values().all(Vec::is_empty) {
            self.malformed(at, "names nothing: name a value, or leave the entry out");
            return Vec::new();
        }
        let names = || known.iter().flat_map(|(one, not, _)| [*one, *not]);
        for field in said.keys() {
            if !names().any(|known| known == field) {
                let names: Vec<_> = names().collect();
                self.malformed(
                    &format!("{at}.{field}"),
                    format!("is not known: write one of {}", names.join(", ")),
                );
            }
        }
        let mut conditions = Vec::new();
        for (one, not, attribute) in known {
            if !said.contains_key(*one) && !said.contains_key(*not) {
                continue;
            }
            let values = |field: &str| Values {
                at: format!("{at}.{field}"),
                said: said.get(field).map_or(&[], Vec::as_slice),
            };
            let (values, not_values) = (values(one), values(not));
            if values.said.is_empty() && not_values.said.is_empty() {
                let of = if said.contains_key(*one) {
                    values
                } else {
                    not_values
                };
                self.warned(&of.at, "is empty, which nothing is", "leave it out");
                continue;
            }
            conditions.extend(self.condition(attribute, &values, &not_values));
        }
        conditions
    }

    fn when(&mut self, at: &str, when: &When) -> Option<Condition> {
        let key = format!("{at}.key");
        let Some(attribute) = attribute(&when.key, self.place.names) else {
            let said = &when.key;
            if said.starts_with(EXPERIMENTAL) {
                self.warned(
                    &key,
                    &format!("{said:?} is set by no filter of sidecars"),
                    "leave the condition out",
                );
            } else {
                let reason = format!(
                    "{said:?} is no attribute: write one such as source.ip, connection.sni or \
                     request.headers[NAME]"
                );
                self.malformed(&key, reason);
            }
            return None;
        };
        let values = Values {
            at: format!("{at}.values"),
            said: when.values.as_deref().unwrap_or_default(),
        };
        let not_values = Values {
            at: format!("{at}.notValues"),
            said: when.not_values.as_deref().unwrap_or_default(),
        };
        if values.said.is_empty() && not_values.said.is_empty() {
            self.malformed(&values.at, "is empty, and so is notValues: name a value");
            return None;
        }
        self.condition(&attribute, &values, &not_values)
    }

    fn condition(
        &mut self,
        attribute: &Attribute,
        values: &Values<'_>,
        not_values: &Values<'_>,
    ) -> Option<Condition> {
        let read = (
            self.read(attribute, values),
            self.read(attribute, not_values),
        );
        Some(Condition {
            attribute: attribute.clone(),
            values: read.0?,
            not_values: read.1?,
        })
    }

    fn read(
        &mut self,
        attribute: &Attribute,
        values: &Values<'_>,
    ) -> Option<Vec<crate::model::Value>> {
        let Place {
            namespace, names, ..
        } = *self.place;
        let mut read = Some(Vec::with_capacity(values.said.len()));
        for (index, text) in values.said.iter().enumerate() {
            match values::value(attribute, text, namespace, names) {
                Ok(value) => read.iter_mut().for_each(|read| read.push(value.clone())),
                Err(reason) => {
                    self.malformed(&format!("{}[{index}]", values.at), reason);
                    read = None;
                }
            }
        }
        read
    }

    /// A part that nobody may write.
    fn malformed(&mut self, at: &str, reason: impl Into<String>) {
        self.not_honoured += 1;
        self.findings.malformed(at, reason);
    }

    /// A part that others know, and that cannot be honoured here.
    fn warned(&mut self, at: &str, reason: &str, remedy: &str) {
        self.not_honoured += 1;
        let consequence = match self.action {
            AuthorizationAction::Allow => "the rule lets nobody in",
            AuthorizationAction::Deny | AuthorizationAction::Custom => "it counts as if it held",
            AuthorizationAction::Audit => "the rule is left out",
        };
        self.findings
            .warned(at, format!("{reason}, so {consequence}: {remedy}"));
    }
}
