//! What is wrong with a rule, for who writes it and for who runs the mesh.

use crate::kubernetes::Problems;

/// What is wrong with a rule as it is written. Each entry says where, what, and what to do about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// It must not be written like this.
    pub errors: Vec<String>,
    /// It may be, and its author should know: what sidecars cannot honour, and what happens instead.
    pub warnings: Vec<String>,
}

/// What was found while a rule was read.
#[derive(Debug, Default)]
pub struct Findings {
    malformed: Said,
    warned: Said,
}

/// Findings of one gravity: the first of them, and how many more there were.
#[derive(Debug, Default)]
struct Said {
    first: Vec<(String, String)>,
    more: usize,
}

/// Errors and warnings that are kept of one object, each: a rule has room for a hundred thousand, and
/// who reads an answer or a log for some.
const MOST: usize = 16;

// === impl Findings ===

impl Findings {
    /// The field must not be like this.
    pub fn malformed(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.malformed.push(field.into(), reason.into());
    }

    /// The field may be like this and means something else than its author may think.
    pub fn warned(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.warned.push(field.into(), reason.into());
    }

    /// How many fields there were that must not be like this.
    pub(super) fn errors(&self) -> usize {
        self.malformed.first.len() + self.malformed.more
    }

    /// For who runs the mesh.
    pub(super) fn note(self, problems: &mut Problems<'_>) {
        for Said { first, more } in [self.malformed, self.warned] {
            for (field, reason) in first {
                problems.push(field, reason);
            }
            if more > 0 {
                problems.push("spec", format!("and {more} more"));
            }
        }
    }
}

// === impl Said ===

impl Said {
    fn push(&mut self, field: String, reason: String) {
        if self.first.len() < MOST {
            self.first.push((field, reason));
        } else {
            self.more += 1;
        }
    }

    fn texts(self) -> Vec<String> {
        let first = self.first.into_iter();
        let first = first.map(|(field, reason)| format!("{field}: {reason}"));
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        first.chain(more).collect()
    }
}

// === impl Judgement ===

impl From<Findings> for Judgement {
    fn from(Findings { malformed, warned }: Findings) -> Self {
        Self {
            errors: malformed.texts(),
            warnings: warned.texts(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_thousands_some_are_said_and_the_rest_is_counted() {
        let mut findings = Findings::default();
        (0..1000).for_each(|at| findings.malformed(format!("spec.rules[{at}]"), "is wrong"));
        let Judgement { errors, warnings } = findings.into();
        assert_eq!(errors.len(), MOST + 1);
        assert_eq!(errors[0], "spec.rules[0]: is wrong");
        assert_eq!(errors[MOST], "and 984 more");
        assert!(warnings.is_empty());
    }
}
