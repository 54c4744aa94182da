//! Why the control plane is not ready, as `/ready` says it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What stands in the way of readiness: a reason for each subject that has one.
#[derive(Debug, Default)]
pub(crate) struct Health {
    reasons: Mutex<BTreeMap<&'static str, String>>,
}

// === impl Health ===

impl Health {
    /// A subject stands in the way. Says whether it did not, or for another reason.
    pub(crate) fn unready(&self, subject: &'static str, reason: impl Into<String>) -> bool {
        let reason = reason.into();
        let mut reasons = self.lock();
        let changed = reasons.get(subject) != Some(&reason);
        reasons.insert(subject, reason);
        changed
    }

    /// A subject stands in the way no longer. Says whether it did.
    pub(crate) fn ready(&self, subject: &'static str) -> bool {
        self.lock().remove(subject).is_some()
    }

    /// All reasons, by subject.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let reasons = self.lock();
        let text = reasons.iter();
        text.map(|(subject, reason)| format!("{subject}: {reason}"))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        // Nothing panics while it is held.
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
