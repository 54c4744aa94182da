//! Runtime: values by key that override what the configuration says, without a new configuration.
//! They come in layers, of which the last that has a key counts; one layer may be changed through
//! the admin interface.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/operations/runtime>

mod entry;
mod percent;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use entry::Entry;
pub use percent::{FractionalPercent, RuntimePercent};

/// Keys that may be set through the admin interface: people set a handful.
const MAX_ADMIN_KEYS: usize = 1000;

/// The values in force. Immutable; a change makes a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runtime {
    layers: Vec<Layer>,
    /// Of each key the value of the last layer that has it.
    values: HashMap<Box<str>, Entry>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Whether it may be changed.
    pub is_admin: bool,
    /// Its values.
    pub entries: BTreeMap<String, Entry>,
}

/// Why the admin interface cannot change a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// No layer may be changed.
    #[error("No admin layer specified")]
    NoAdminLayer,
    /// There are too many.
    #[error("at most {MAX_ADMIN_KEYS} keys can be overridden")]
    TooMany,
}

// === impl Runtime ===

impl Runtime {
    /// Of these layers.
    #[must_use]
    pub fn new(layers: Vec<Layer>) -> Self {
        let mut values = HashMap::new();
        for layer in &layers {
            for (key, entry) in &layer.entries {
                values.insert(key.as_str().into(), entry.clone());
            }
        }
        Self { layers, values }
    }

    /// The layers, the one that counts last.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Every key, in order.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<&str> {
        self.values.keys().map(AsRef::as_ref).collect()
    }

    /// With values of the layer that may be changed set, or taken out where they are empty.
    ///
    /// # Errors
    /// There is no such layer, or it would hold too much.
    pub fn with_overrides<'o>(
        &self,
        overrides: impl IntoIterator<Item = (&'o str, &'o str)>,
    ) -> Result<Self, OverrideError> {
        let mut layers = self.layers.clone();
        let layer = layers.iter_mut().find(|layer| layer.is_admin);
        let layer = layer.ok_or(OverrideError::NoAdminLayer)?;
        for (key, value) in overrides {
            layer.entries.remove(key);
            if !value.is_empty() {
                layer
                    .entries
                    .insert(key.to_owned(), Entry::from_text(value));
            }
        }
        if layer.entries.len() > MAX_ADMIN_KEYS {
            return Err(OverrideError::TooMany);
        }
        Ok(Self::new(layers))
    }

    /// The number under a key.
    #[must_use]
    pub fn integer(&self, key: &str, default: u64) -> u64 {
        let entry = self.entry(key);
        entry.and_then(|entry| entry.integer).unwrap_or(default)
    }

    /// A number with a fraction (`RuntimeDouble`); what is no number is not heeded.
    #[must_use]
    pub fn double(&self, key: &str, default: f64) -> f64 {
        let number = self
            .entry(key)
            .and_then(|entry| entry.text.trim().parse().ok());
        number.unwrap_or(default)
    }

    /// The truth under a key: a feature flag.
    #[must_use]
    pub fn boolean(&self, key: &str, default: bool) -> bool {
        let entry = self.entry(key);
        entry.and_then(|entry| entry.boolean).unwrap_or(default)
    }

    /// Whether the request that drew `random` is among a share, which a key may override.
    #[must_use]
    pub fn includes(&self, share: &RuntimePercent, random: u64) -> bool {
        self.is_among(&share.key, share.default, random)
    }

    /// The same of a key and a share that are kept apart.
    #[must_use]
    pub fn is_among(&self, key: &str, default: FractionalPercent, random: u64) -> bool {
        let Some(entry) = self.entry(key) else {
            return default.includes(random);
        };
        let share = match (entry.percent, entry.integer) {
            (Some(percent), _) => percent,
            // A plain number is a percentage.
            (None, Some(number)) => u32::try_from(number)
                .ok()
                .filter(|number| *number <= 100)
                .map_or(FractionalPercent::ALL, FractionalPercent::percent),
            (None, None) => default,
        };
        share.includes(random)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        if self.values.is_empty() || key.is_empty() {
            return None;
        }
        self.values.get(key)
    }
}

#[cfg(test)]
mod tests;
