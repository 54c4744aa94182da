//! What a check found, and how people and programs read it.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Works, but not all of it, or could not be looked at.
    Warning,
    /// Does not work.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Subject, in one word.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What is so.
    pub(super) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) checks: Vec<Finding>,
    pub(super) summary: Summary,
}

/// How many findings of each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub(super) ok: usize,
    pub(super) warnings: usize,
    pub(super) failures: usize,
}

// === impl Finding ===

impl Finding {
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            message: message.into(),
            advice: None,
        }
    }

    pub(super) fn warning(
        check: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check,
            level: Level::Warning,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    pub(super) fn failure(
        check: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Failure,
            ..Self::warning(check, message, advice)
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn new(checks: Vec<Finding>) -> Self {
        let count = |level| {
            checks
                .iter()
                .filter(|finding| finding.level == level)
                .count()
        };
        let summary = Summary {
            ok: count(Level::Ok),
            warnings: count(Level::Warning),
            failures: count(Level::Failure),
        };
        Self { checks, summary }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.checks {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Failure => "FAILURE",
            };
            writeln!(f, "{level:8} {:14} {}", finding.check, finding.message)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "{:8} {:14} -> {advice}", "", "")?;
            }
        }
        let Summary {
            ok,
            warnings,
            failures,
        } = self.summary;
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (warn, fail) = (plural(warnings), plural(failures));
        writeln!(
            f,
            "\n{ok} ok, {warnings} warning{warn}, {failures} failure{fail}"
        )
    }
}
