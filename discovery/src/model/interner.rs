//! One copy of what many objects say.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Hints, Labels, Locality, NamespacedName, Probe};

/// Sizes below which nothing is swept: sweeping a small set gains nothing.
const SWEEP_AT_LEAST: usize = 1024;

/// Gives equal values one place in memory. A name of a pod stands in the pod, in its slices and in
/// several tables; namespaces, nodes and zones stand in thousands of objects.
///
/// Values that nobody else holds any more are swept out as the set grows, so that it stays within
/// twice what is in use.
#[derive(Debug, Default)]
pub struct Interner {
    texts: Pool<str>,
    localities: Pool<Locality>,
    hints: Pool<Hints>,
    labels: Pool<Labels>,
    probes: Pool<[Probe]>,
}

#[derive(Debug)]
struct Pool<T: ?Sized>(Mutex<Values<T>>);

#[derive(Debug)]
struct Values<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

// === impl Interner ===

impl Interner {
    /// The one copy of a text.
    #[must_use]
    pub fn text(&self, text: &str) -> Arc<str> {
        self.texts.get(text, |text| text.into())
    }

    /// A name made of such copies.
    #[must_use]
    pub fn name(&self, namespace: &str, name: &str) -> NamespacedName {
        NamespacedName {
            namespace: self.text(namespace),
            name: self.text(name),
        }
    }

    /// The one copy of a locality.
    #[must_use]
    pub fn locality(&self, locality: &Locality) -> Arc<Locality> {
        self.localities.get(locality, |it| Arc::new(it.clone()))
    }

    /// The one copy of labels: pods of one template have the same.
    #[must_use]
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> Arc<Labels> {
        let labels = labels.iter();
        let labels = labels.map(|(key, value)| (self.text(key), self.text(value)));
        self.labels
            .get(&labels.collect(), |it| Arc::new(it.clone()))
    }

    /// The one copy of probes: pods of one template have the same.
    #[must_use]
    pub fn probes(&self, probes: &[Probe]) -> Arc<[Probe]> {
        self.probes.get(probes, |it| it.into())
    }

    /// The one copy of hints.
    #[must_use]
    pub fn hints(&self, hints: &Hints) -> Arc<Hints> {
        self.hints.get(hints, |it| Arc::new(it.clone()))
    }
}

// === impl Pool ===

impl<T: ?Sized + Eq + Hash> Pool<T> {
    fn get(&self, value: &T, make: impl FnOnce(&T) -> Arc<T>) -> Arc<T>
    where
        Arc<T>: Borrow<T>,
    {
        // Nothing that can panic leaves the set half changed.
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pool.values.get(value) {
            return known.clone();
        }
        if pool.values.len() >= pool.sweep_at {
            pool.values.retain(|value| Arc::strong_count(value) > 1);
            pool.sweep_at = SWEEP_AT_LEAST.max(2 * pool.values.len());
        }
        let new = make(value);
        pool.values.insert(new.clone());
        new
    }
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Values {
            values: HashSet::new(),
            sweep_at: SWEEP_AT_LEAST,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_what_nobody_holds_is_swept() {
        let interner = Interner::default();
        let kept: Vec<_> = (0..10)
            .map(|number| interner.text(&format!("kept-{number}")))
            .collect();
        for number in 0..10 * SWEEP_AT_LEAST {
            let _ = interner.text(&format!("gone-{number}"));
        }
        for (number, text) in kept.iter().enumerate() {
            let again = interner.text(&format!("kept-{number}"));
            assert!(Arc::ptr_eq(text, &again));
        }
        let left = interner.texts.0.lock().expect("lock").values.len();
        assert!(left <= SWEEP_AT_LEAST, "{left} texts");
    }
}
