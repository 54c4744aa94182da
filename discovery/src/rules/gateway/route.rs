//! What kinds of routes are alike in.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{GROUP, fault::Faults, parent, parent::ReadParent, reader::ReadRule, wire};
use crate::{
    model::{Effect, RequestMatch, Routing, Speech, Target},
    rules::{Findings, Place, RuleKind, Selector},
};

/// What kinds of routes differ in.
pub trait Dialect: fmt::Debug + Clone + Default + PartialEq + Send + Sync + 'static {
    /// Name of the kind.
    const KIND: &'static str;
    /// Versions in which it is written.
    const VERSIONS: &'static [&'static str];
    /// Where the API server has its objects.
    const PATH: &'static str;
    /// What requests it is about.
    const SPEECH: Speech;
    /// Whether its rules have timeouts and retries.
    const HAS_TIMEOUTS: bool;
    /// The rules of a route that has none.
    const DEFAULT_RULES: usize;

    /// Reads a condition at a path, if it is one.
    const READ_MATCH: ReadMatch;
}

/// Reads a condition at a path, if it is one; else what is wrong is among the faults.
pub type ReadMatch = fn(&str, &Value, &Place<'_>, &mut Faults) -> Option<RequestMatch>;

/// What a route says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec<D> {
    said: wire::Route,
    dialect: PhantomData<D>,
}

/// A route as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRoute {
    /// Its parents that are services.
    pub parents: Vec<ReadParent>,
    /// Its rules, in order.
    pub rules: Vec<ReadRule>,
}

// === impl Spec ===

impl<'de, D> Deserialize<'de> for Spec<D> {
    fn deserialize<R: Deserializer<'de>>(reader: R) -> Result<Self, R::Error> {
        let said = wire::Route::deserialize(reader)?;
        let dialect = PhantomData;
        Ok(Self { said, dialect })
    }
}

impl<D: Dialect> Spec<D> {
    /// Reads the route.
    #[must_use]
    pub fn read_route(&self, place: &Place<'_>) -> ReadRoute {
        let none = Value::Object(serde_json::Map::new());
        let absent = vec![none; D::DEFAULT_RULES];
        let rules = self.said.rules.as_ref().filter(|it| !it.is_empty());
        let rules = rules.unwrap_or(&absent).iter().enumerate();
        let refs = self.said.parent_refs.as_deref().unwrap_or_default();
        ReadRoute {
            parents: parent::parents(refs, place),
            rules: rules
                .map(|(index, value)| ReadRule::read::<D>(index, value, place))
                .collect(),
        }
    }
}

impl<D: Dialect> RuleKind for Spec<D> {
    const KIND: &'static str = D::KIND;
    const GROUP: &'static str = GROUP;
    const VERSIONS: &'static [&'static str] = D::VERSIONS;
    const PATH: &'static str = D::PATH;

    fn selector(&self) -> Option<&Selector> {
        None
    }

    fn read(&self, place: &Place<'_>, findings: &mut Findings) -> Option<(Target, Effect)> {
        let refs = self.said.parent_refs.as_deref().unwrap_or_default();
        parent::warn_of_no_group(refs, findings);
        let ReadRoute { parents, rules } = self.read_route(place);
        if parents.is_empty() {
            return None;
        }
        for field in self.said.others.keys() {
            findings.warned(format!("spec.{field}"), "is not known here: leave it out");
        }
        for fault in parents.iter().filter_map(|it| it.parent.as_ref().err()) {
            fault.tell("the route is not about this parent", findings);
        }
        for rule in &rules {
            for fault in &rule.faults {
                fault.tell(rule.consequence(), findings);
            }
        }
        let parents: Vec<_> = parents
            .into_iter()
            .filter_map(|it| it.parent.ok())
            .collect();
        let routing = Routing {
            speech: D::SPEECH,
            rules: rules.into_iter().filter_map(|it| it.rule).collect(),
            parents,
            ..Routing::default()
        };
        let is_about_none = routing.parents.is_empty();
        (!is_about_none).then(|| (Target::Services, Effect::Routing(Box::new(routing))))
    }

    fn advise(&self, _: &Place<'_>, _: &mut Findings) {}
}
