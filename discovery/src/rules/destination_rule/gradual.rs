//! How much is sent again, and how new endpoints come to their part.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    model::{RetryBudget, Warmup},
    rules::{
        Findings,
        istio::{Span, refuse},
    },
};

/// How many requests are sent again at once, by those that are under way.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Retries {
    percent: Option<f64>,
    min_retry_concurrency: Option<u32>,
    budget_interval: Option<Value>,
}

/// How a new endpoint comes to its part.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Slowly {
    duration: Option<Span>,
    minimum_percent: Option<f64>,
    aggression: Option<f64>,
}

/// Istio's, where nothing is said.
const PERCENT: f64 = 20.0;
const MINIMUM_PERCENT: f64 = 10.0;
const AGGRESSION: f64 = 1.0;

// === impl Retries ===

impl Retries {
    pub(super) fn read(&self, at: &str, findings: &mut Findings) -> RetryBudget {
        let instead = "requests that are under way count";
        let fields = &[("budgetInterval", &self.budget_interval)];
        refuse(at, fields, instead, findings);
        RetryBudget {
            percent: percent(at, "percent", self.percent, PERCENT, findings),
            least: self.min_retry_concurrency,
        }
    }
}

// === impl Slowly ===

impl Slowly {
    /// That in this time alone.
    pub(super) fn within(duration: Span) -> Self {
        Self {
            duration: Some(duration),
            ..Self::default()
        }
    }

    pub(super) fn read(&self, at: &str, findings: &mut Findings) -> Option<Warmup> {
        let duration = self.duration.map(|it| it.0).filter(|it| !it.is_zero());
        if duration.is_none() {
            findings.malformed(format!("{at}.duration"), "is missing or 0: write it");
        }
        let field = "minimumPercent";
        let least = percent(at, field, self.minimum_percent, MINIMUM_PERCENT, findings);
        let aggression = self.aggression.unwrap_or(AGGRESSION);
        if !(AGGRESSION..=MOST_AGGRESSION).contains(&aggression) {
            let reason = format!("{aggression} is not from {AGGRESSION} to {MOST_AGGRESSION}");
            findings.malformed(format!("{at}.aggression"), reason);
            return None;
        }
        Some(Warmup {
            duration: duration?,
            least,
            aggression: millionths(aggression),
        })
    }
}

/// More than anybody can tell from a step.
const MOST_AGGRESSION: f64 = 1000.0;

/// So many of a hundred, in millionths of one.
fn percent(at: &str, field: &str, said: Option<f64>, unsaid: f64, findings: &mut Findings) -> u32 {
    let value = said.unwrap_or(unsaid);
    if !(0.0..=100.0).contains(&value) {
        let reason = format!("{value} is no percentage (0 to 100)");
        findings.malformed(format!("{at}.{field}"), reason);
        return millionths(unsaid);
    }
    millionths(value)
}

/// A number from 0 to 1000, so that what says it can be compared.
fn millionths(value: f64) -> u32 {
    // Within bounds, and so exact to a millionth.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let millionths = (value * 1_000_000.0).round() as u32;
    millionths
}
