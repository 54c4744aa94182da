//! Subsets of the hosts of a cluster, by their metadata.

use std::sync::Arc;

use serde_json::{Map, Value};

/// Namespace of metadata that balancers look at.
pub const LB_METADATA: &str = "envoy.lb";
/// The criterion that lists others, of which the first with a host counts.
pub const FALLBACK_LIST: &str = "fallback_list";

/// `Cluster.LbSubsetConfig`, `envoy.extensions.load_balancing_policies.subset.v3.Subset`
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of Envoy's message"
)]
pub struct Subsets {
    /// Where no subset is what the route asks for.
    pub fallback: Fallback,
    /// What hosts of the default subset have.
    pub default_subset: Map<String, Value>,
    /// By which keys there are subsets.
    pub selectors: Vec<SubsetSelector>,
    /// A route may ask by more keys than a selector has.
    pub allow_redundant_keys: bool,
    /// Localities keep their weights.
    pub locality_weight_aware: bool,
    /// These go by the share of a locality's hosts that are in the subset.
    pub scale_locality_weight: bool,
    /// Where the fallback has no host, any takes the request.
    pub panic_mode_any: bool,
    /// A list in a host's metadata stands for each of its values.
    pub list_as_any: bool,
    /// [`FALLBACK_LIST`] counts.
    pub metadata_fallback: bool,
}

/// `LbSubsetFallbackPolicy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// `NO_FALLBACK`: nobody is picked.
    None,
    /// `ANY_ENDPOINT`
    Any,
    /// `DEFAULT_SUBSET`
    Default,
}

/// `LbSubsetSelector`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubsetSelector {
    /// Sorted, each once.
    pub keys: Vec<String>,
    /// A subset has one host, the first.
    pub single_host: bool,
    /// Where no subset of these keys is what the route asks for; none: what the cluster says.
    pub fallback: Option<SelectorFallback>,
}

/// `LbSubsetSelectorFallbackPolicy`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorFallback {
    /// As of the cluster.
    Of(Fallback),
    /// `KEYS_SUBSET`: it is looked for by these keys alone.
    Keys(Vec<String>),
}

/// What a route wants of the metadata of hosts (`metadata_match`): criteria sorted by their name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataMatch(Arc<[Criterion]>);

/// A key, and the value that hosts of the subset have there.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    /// The key.
    pub name: Box<str>,
    /// The value.
    pub value: Value,
    /// The value as [`text_of`] writes it.
    pub text: Box<str>,
}

/// A value as text, the same for values that are equal.
#[must_use]
pub fn text_of(value: &Value) -> Box<str> {
    value.to_string().into()
}

// === impl MetadataMatch ===

impl MetadataMatch {
    /// Of what a namespace holds.
    #[must_use]
    pub fn new(values: &Map<String, Value>) -> Self {
        Self::default().merged(values)
    }

    /// These criteria, and others in their place.
    #[must_use]
    pub fn merged(&self, others: &Map<String, Value>) -> Self {
        let kept = self.0.iter().filter(|one| !others.contains_key(&*one.name));
        let added = others.iter().map(|(name, value)| Criterion {
            name: name.as_str().into(),
            text: text_of(value),
            value: value.clone(),
        });
        let mut all: Vec<Criterion> = kept.cloned().chain(added).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Self(all.into())
    }

    /// Those with one of these names.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted = self.0.iter().filter(|one| is_wanted(&one.name));
        Self(wanted.cloned().collect())
    }

    /// Sorted by their name.
    #[must_use]
    pub fn criteria(&self) -> &[Criterion] {
        &self.0
    }
}
