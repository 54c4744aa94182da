//! Conditions on who sends, and to which port.

use std::sync::Arc;

use crate::model::{Caller, Labels};

/// Conditions on who sends, and to which port. They hold or do not before anything is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceMatch {
    /// The port of the service.
    pub port: Option<u16>,
    /// The namespace of the caller.
    pub namespace: Option<Arc<str>>,
    /// Labels of the caller.
    pub labels: Labels,
}

// === impl SourceMatch ===

impl SourceMatch {
    /// Whether they hold. Nobody in particular has neither a namespace nor labels.
    #[must_use]
    pub fn holds(&self, port: u16, caller: Option<&Caller>) -> bool {
        let is_from = |it: &Arc<str>| caller.is_some_and(|caller| caller.namespace == *it);
        let is_it = self.labels.is_empty() || caller.is_some_and(|it| it.has(&self.labels));
        self.port.is_none_or(|it| it == port)
            && self.namespace.as_ref().is_none_or(is_from)
            && is_it
    }

    /// Whether it depends on who sends.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.namespace.is_some() || !self.labels.is_empty()
    }
}
