//! The command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use crate::{scenario::Scenario, scenarios::SCENARIOS};

/// Measures Weir beside Envoy and HAProxy: CPU time per unit of work, throughput, latency, memory.
///
/// Exit status: 0 measured, 1 the machine cannot or a scenario had errors, 64 bad usage.
#[derive(Debug, clap::Parser)]
#[command(name = "weir-bench", version)]
pub(crate) struct Args {
    /// weir-agent as it ships (`cargo build --profile agent -p weir-agent`).
    #[arg(long, value_name = "FILE")]
    pub(crate) weir: PathBuf,
    /// Other builds of weir-agent to measure in the same run, to tell what a change gives.
    #[arg(long = "and", value_name = "LABEL=FILE", value_parser = labelled)]
    pub(crate) others: Vec<(String, PathBuf)>,
    /// Envoy's program itself; by default looked for in PATH and in Python's packages there.
    #[arg(long, value_name = "FILE")]
    pub(crate) envoy: Option<PathBuf>,
    /// HAProxy; by default looked for in PATH.
    #[arg(long, value_name = "FILE")]
    pub(crate) haproxy: Option<PathBuf>,
    /// Proxies to leave out.
    #[arg(long, value_name = "NAME", value_parser = ["envoy", "haproxy", "direct"])]
    pub(crate) without: Vec<String>,
    /// Scenarios to run; all by default.
    #[arg(value_name = "SCENARIO", value_parser = names())]
    scenarios: Vec<String>,
    /// How often each proxy gets its turn in each scenario.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Seconds of load in each turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
    /// Where JSON and SVG of a whole run go; nowhere by default. Parts are only printed.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) out: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name))
}

fn labelled(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((label, path)) if !label.is_empty() && !path.is_empty() => {
            Ok((label.to_owned(), PathBuf::from(path)))
        }
        _ => Err("is to be LABEL=FILE".to_owned()),
    }
}

// === impl Args ===

impl Args {
    /// Whether all scenarios are run, with all proxies.
    pub(crate) fn is_whole(&self) -> bool {
        self.scenarios.is_empty() && self.without.is_empty() && self.others.is_empty()
    }

    /// What to run, in the order of the table.
    pub(crate) fn scenarios(&self) -> impl Iterator<Item = &'static Scenario> {
        let wanted = |scenario: &&Scenario| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name)
        };
        SCENARIOS.iter().filter(wanted)
    }
}
