//! What capture did.

use std::fmt;

use crate::{backend::Backend, family::Family, verify::Proof};

/// What [`super::apply`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Each family once.
    pub families: Vec<(Family, Outcome)>,
}

/// What became of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody is reached by it from this namespace, so there is nothing to capture.
    Absent,
    /// Present without an address others can reach, and the machine cannot capture it, for this
    /// reason.
    Unavailable(String),
    /// The rules are in force.
    InForce {
        /// Where.
        backend: Backend,
        /// What was done for that.
        change: Change,
        /// How many they are.
        rules: usize,
        /// What was seen of the inbound redirect.
        inbound: Proof,
        /// What was seen of the outbound redirect.
        outbound: Proof,
    },
}

/// What was done to the rules in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: they were as wanted.
    None,
    /// They were made where none of ours were.
    Made,
    /// They took the place of others of ours.
    Replaced,
}

/// What [`super::cleanup`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Where there was something to remove.
    pub removed: Vec<(Family, Backend)>,
}

// === impl Report ===

impl Report {
    /// Whether any family is captured.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.families
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::InForce { .. }))
    }

    /// Whether all was as wanted.
    #[must_use]
    pub fn unchanged(&self) -> bool {
        self.families.iter().all(|(_, outcome)| match outcome {
            Outcome::InForce { change, .. } => *change == Change::None,
            Outcome::Absent | Outcome::Unavailable(_) => true,
        })
    }
}

impl fmt::Display for Report {
    /// One line for each family.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, outcome) in &self.families {
            match outcome {
                Outcome::Absent => {
                    writeln!(
                        f,
                        "{family}: not in use in this network namespace, nothing to capture"
                    )?;
                }
                Outcome::Unavailable(reason) => {
                    writeln!(
                        f,
                        "{family}: no address others can reach, and not captured: {reason}"
                    )?;
                }
                Outcome::InForce {
                    backend,
                    change,
                    rules,
                    inbound,
                    outbound,
                } => {
                    let done = match change {
                        Change::None => "no change",
                        Change::Made => "made",
                        Change::Replaced => "replaced",
                    };
                    writeln!(
                        f,
                        "{family}: {done}, {rules} rules in force by {backend}; inbound redirect \
                         {inbound}; outbound redirect {outbound}"
                    )?;
                }
            }
        }
        Ok(())
    }
}

// === impl Cleaned ===

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.removed.is_empty() {
            return writeln!(f, "no change: nothing of ours was in force");
        }
        for (family, backend) in &self.removed {
            writeln!(f, "{family}: rules removed from {backend}")?;
        }
        Ok(())
    }
}
