//! What filters of all workers have in common, as Envoy's singleton manager: limits that hold for the
//! process rather than for a worker.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Values by name. One goes when the last that uses it lets go.
#[derive(Debug, Default)]
pub struct Singletons(Mutex<HashMap<String, Weak<dyn Any + Send + Sync>>>);

// === impl Singletons ===

impl Singletons {
    /// The value of this name, made if there is none.
    pub fn get<T: Any + Send + Sync>(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = values.get(name).and_then(Weak::upgrade);
        if let Some(known) = known.and_then(|known| known.downcast().ok()) {
            return known;
        }
        values.retain(|_, value| value.strong_count() > 0);
        let made = Arc::new(make());
        let weak: Weak<dyn Any + Send + Sync> =
            Arc::downgrade(&(Arc::clone(&made) as Arc<dyn Any + Send + Sync>));
        values.insert(name.to_owned(), weak);
        made
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_value_is_shared_by_name_and_goes_with_its_last_user() {
        let singletons = Singletons::default();
        let get = |name| singletons.get(name, AtomicU64::default);
        let (one, same, other) = (get("a"), get("a"), get("b"));
        one.store(1, Ordering::Relaxed);
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        assert_eq!((read(&same), read(&other)), (1, 0));
        drop((one, same));
        assert_eq!(read(&get("a")), 0);
    }
}
