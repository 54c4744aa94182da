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
pub struct Findings(Vec<Finding>);

#[derive(Debug)]
struct Finding {
    field: String,
    reason: String,
    /// Nobody may write it like this.
    is_malformed: bool,
}

/// Errors and warnings that are said of one object, each: a rule has room for thousands, and who reads
/// an answer for some.
const SAID: usize = 16;

// === impl Findings ===

impl Findings {
    /// The field must not be like this.
    pub fn malformed(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.push(field.into(), reason.into(), true);
    }

    /// The field may be like this and means something else than its author may think.
    pub fn warned(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.push(field.into(), reason.into(), false);
    }

    /// For who runs the mesh.
    pub(super) fn note(self, problems: &mut Problems<'_>) {
        for Finding { field, reason, .. } in self.0 {
            problems.push(field, reason);
        }
    }

    fn push(&mut self, field: String, reason: String, is_malformed: bool) {
        self.0.push(Finding {
            field,
            reason,
            is_malformed,
        });
    }
}

// === impl Judgement ===

impl From<Findings> for Judgement {
    fn from(Findings(all): Findings) -> Self {
        let (errors, warnings): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.is_malformed);
        Self {
            errors: said(errors),
            warnings: said(warnings),
        }
    }
}

fn said(findings: Vec<Finding>) -> Vec<String> {
    let more = findings.len().saturating_sub(SAID);
    let said = findings.into_iter().take(SAID);
    let said = said.map(|Finding { field, reason, .. }| format!("{field}: {reason}"));
    let rest = (more > 0).then(|| format!("and {more} more"));
    said.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_thousands_some_are_said_and_the_rest_is_counted() {
        let mut findings = Findings::default();
        (0..1000).for_each(|at| findings.malformed(format!("spec.rules[{at}]"), "is wrong"));
        let Judgement { errors, warnings } = findings.into();
        assert_eq!(errors.len(), SAID + 1);
        assert_eq!(errors[0], "spec.rules[0]: is wrong");
        assert_eq!(errors[SAID], "and 984 more");
        assert!(warnings.is_empty());
    }
}
