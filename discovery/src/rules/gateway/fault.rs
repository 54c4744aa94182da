//! What is wrong with a part of a route.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::rules::Findings;

/// What is wrong with a part of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field.
    pub at: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
    /// How grave that is.
    pub gravity: Gravity,
}

/// How grave a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// The specification allows it, and it cannot be honoured here.
    Unsupported,
    /// The specification forbids these together.
    Incompatible,
    /// The specification forbids it.
    Malformed,
}

/// What is wrong with one rule, or with one parent.
#[derive(Debug, Default)]
pub struct Faults(pub(super) Vec<Fault>);

// === impl Faults ===

impl Faults {
    pub(super) fn unsupported(&mut self, at: &str, reason: impl Into<String>) {
        self.push(at, reason.into(), Gravity::Unsupported);
    }

    pub(super) fn incompatible(&mut self, at: &str, reason: impl Into<String>) {
        self.push(at, reason.into(), Gravity::Incompatible);
    }

    pub(super) fn malformed(&mut self, at: &str, reason: impl Into<String>) {
        self.push(at, reason.into(), Gravity::Malformed);
    }

    fn push(&mut self, at: &str, reason: String, gravity: Gravity) {
        let at = at.to_owned();
        self.0.push(Fault {
            at,
            reason,
            gravity,
        });
    }

    /// What stands at that place. Whatever the API server let in and is not known here is of a newer
    /// version of the specification.
    pub(super) fn typed<T: DeserializeOwned>(&mut self, at: &str, value: &Value) -> Option<T> {
        match serde_path_to_error::deserialize(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                let path = error.path().to_string();
                let at = match path.as_str() {
                    "." => at.to_owned(),
                    path => format!("{at}.{path}"),
                };
                let reason = error.into_inner().to_string();
                self.unsupported(&at, format!("is not known here: {reason}"));
                None
            }
        }
    }
}

// === impl Fault ===

impl Fault {
    /// Says it to the author, with what becomes of the rule.
    pub(super) fn tell(&self, consequence: &str, findings: &mut Findings) {
        let Self {
            at,
            reason,
            gravity,
        } = self;
        match gravity {
            Gravity::Unsupported => findings.warned(at, format!("{reason}; {consequence}")),
            Gravity::Incompatible | Gravity::Malformed => findings.malformed(at, reason),
        }
    }
}
