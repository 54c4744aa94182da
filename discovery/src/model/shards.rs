//! A map whose clone is cheap and whose changes copy little.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

/// Shards a map is cut into. At 100 000 entries a shard holds about 200: a change copies those, a
/// clone copies 512 pointers.
const SHARDS: usize = 512;

/// A hash map cut into shards that clones share until one of them writes.
#[derive(Debug, Clone)]
pub(super) struct Shards<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<K, V>>>,
}

// === impl Shards ===

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.shards[self.shard(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let shard = self.shard(&key);
        Arc::make_mut(&mut self.shards[shard]).insert(key, value)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let shard = self.shard(key);
        if !self.shards[shard].contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.shards[shard]).remove(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    fn shard(&self, key: &K) -> usize {
        // The modulus keeps the value far below `usize`.
        (self.hasher.hash_one(key) % SHARDS as u64) as usize
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::new());
        Self {
            hasher: RandomState::new(),
            shards: vec![empty; SHARDS],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut map = Shards::default();
        for key in 0..1000 {
            map.insert(key, key);
        }
        let before = map.clone();
        map.insert(7, 70);
        map.remove(&8);
        assert_eq!((before.get(&7), before.get(&8)), (Some(&7), Some(&8)));
        assert_eq!((map.get(&7), map.get(&8)), (Some(&70), None));
        assert_eq!((before.len(), map.len()), (1000, 999));
    }
}
