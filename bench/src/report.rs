//! The figures: a table for people, JSON for programs, a chart.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde::Serialize;

use crate::{
    args::Args,
    chart,
    machine::Machine,
    measure::{Sample, Turns},
    peer::{Kind, Peer},
    scenario::Scenario,
    speed::Speed,
};

mod mutual_tls;

/// A line under the header and nothing else: rows are to be read across.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

const MIB: f64 = 1048576.0;
/// At most, of Weir.
const GOAL_PROGRAM_MIB: f64 = 14.0;
const GOAL_IDLE_MIB: f64 = 10.0;
const GOAL_READY_MS: f64 = 30.0;

/// All that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: u32,
    seconds: u32,
    proxies: Vec<Proxy>,
    /// Of cryptography, where a scenario is held against it.
    speed: Option<Speed>,
    pub(crate) rows: Vec<Row>,
    #[serde(skip)]
    peers: Vec<Peer>,
}

#[derive(Debug, Serialize)]
struct Proxy {
    name: String,
    version: String,
    program_bytes: u64,
}

/// One proxy in one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    scenario: &'static str,
    pub(crate) title: &'static str,
    unit: &'static str,
    pub(crate) proxy: String,
    /// Of Weir.
    pub(crate) goal: Option<f64>,
    /// Why there are no figures.
    error: Option<String>,
    #[serde(flatten)]
    figures: Option<Figures>,
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
struct Figures {
    cpu_us_per_unit: Option<f64>,
    /// Median of the ratios of each round.
    to_envoy: Option<f64>,
    units_per_second: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    rss_idle_kib: Option<f64>,
    rss_loaded_kib: Option<f64>,
    /// What a connection adds, where they are left open.
    kib_per_connection: Option<f64>,
    /// From exec.
    listens_ms: Option<f64>,
    /// Of each round, in order.
    all_cpu_us_per_unit: Vec<f64>,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(peers: &[Peer], args: &Args, speed: Option<Speed>) -> Result<Self> {
        let proxies = peers.iter().filter(|peer| peer.kind != Kind::Direct);
        let proxies = proxies.map(|peer| {
            let program = fs::metadata(&peer.program);
            let program = program.with_context(|| peer.program.display().to_string())?;
            Ok(Proxy {
                name: peer.label.clone(),
                version: peer.version.clone(),
                program_bytes: program.len(),
            })
        });
        Ok(Self {
            machine: Machine::this(),
            rounds: args.rounds,
            seconds: args.seconds,
            proxies: proxies.collect::<Result<_>>()?,
            speed,
            rows: Vec::new(),
            peers: peers.to_vec(),
        })
    }

    /// Adds the turns of each peer in one scenario.
    pub(crate) fn add(&mut self, scenario: &Scenario, all: Vec<Turns>) {
        let envoy = self.peers.iter().position(|peer| peer.kind == Kind::Envoy);
        let envoy = envoy.and_then(|index| all[index].as_ref().ok()).cloned();
        for (peer, turns) in self.peers.iter().zip(all) {
            if turns.as_ref().is_ok_and(Vec::is_empty) {
                continue;
            }
            let (figures, error) = match turns {
                Ok(samples) => (Some(Figures::of(&samples, envoy.as_deref())), None),
                Err(error) => (None, Some(error)),
            };
            self.rows.push(Row {
                scenario: scenario.name,
                title: scenario.title,
                unit: scenario.unit,
                proxy: peer.label.clone(),
                goal: scenario.goal.filter(|_| peer.kind == Kind::Weir),
                error,
                figures,
            });
        }
    }

    /// What had errors, and which.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = |row: &Row| {
            let error = row.error.as_ref()?;
            Some(format!("{} through {}: {error}", row.scenario, row.proxy))
        };
        self.rows.iter().filter_map(failed).collect()
    }

    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(STYLE).set_header([
            "scenario",
            "proxy",
            "CPU us",
            "to Envoy",
            "goal",
            "units/s",
            "p50 ms",
            "p99 ms",
            "idle MiB",
            "loaded MiB",
            "KiB/cx",
            "listens ms",
        ]);
        let mut last = "";
        for row in &self.rows {
            let title = if last == row.scenario { "" } else { row.title };
            last = row.scenario;
            table.add_row(row.cells(title));
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let programs = self.proxies.iter().map(|proxy| self.footprint(proxy));
        format!(
            "{table}\n\nCPU us is CPU time of the proxy per request, call, MiB or connection; to Envoy its \
             ratio in the same round.\nMedians of {} rounds of {} s each.\n{}{}{}, {} cores, Linux {}, load {}, {}, commit {}\n",
            self.rounds,
            self.seconds,
            mutual_tls::notes(self),
            programs.collect::<String>(),
            self.machine.processor,
            self.machine.cores,
            self.machine.kernel,
            self.machine.load,
            self.machine.date,
            self.machine.commit,
        )
    }

    /// The proxies' figures in one scenario.
    fn figures(&self, scenario: &Scenario) -> impl Iterator<Item = (&str, &Figures)> {
        let rows = self.rows.iter().filter(|row| row.scenario == scenario.name);
        rows.filter_map(|row| Some((row.proxy.as_str(), row.figures.as_ref()?)))
    }

    /// What a proxy costs before it does anything: its program, its memory, its start.
    fn footprint(&self, proxy: &Proxy) -> String {
        let rows = || self.rows.iter().filter(|row| row.proxy == proxy.name);
        let figures = || rows().filter_map(|row| row.figures.as_ref());
        let idle = median(figures().filter_map(|figures| figures.rss_idle_kib));
        let listens = median(figures().filter_map(|figures| figures.listens_ms));
        let size = proxy.program_bytes as f64 / MIB;
        let parts = [
            (Some(size), "MiB program", GOAL_PROGRAM_MIB),
            (idle.map(|kib| kib / 1024.0), "MiB idle", GOAL_IDLE_MIB),
            (listens, "ms to listen", GOAL_READY_MS),
        ];
        let parts = parts.iter().filter_map(|(value, unit, goal)| {
            let value = (*value)?;
            let goal = match proxy.name == "Weir" {
                true => format!(" (goal {goal:.0} {})", verdict(value <= *goal)),
                false => String::new(),
            };
            Some(format!("{value:.1} {unit}{goal}, "))
        });
        let parts: String = parts.collect();
        format!("{}: {parts}{}\n", proxy.name, proxy.version)
    }

    /// Writes JSON and the chart. Returns the paths.
    pub(crate) fn write(&self, directory: &Path) -> Result<[PathBuf; 2]> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let json = serde_json::to_string_pretty(self).context("JSON")? + "\n";
        let files = [("latest.json", json), ("latest.svg", chart::draw(self))];
        let [json, svg] = files.map(|(name, text)| {
            let path = directory.join(name);
            let written = fs::write(&path, text);
            written
                .with_context(|| path.display().to_string())
                .map(|()| path)
        });
        Ok([json?, svg?])
    }
}

// === impl Row ===

impl Row {
    /// CPU time relative to Envoy's.
    pub(crate) fn to_envoy(&self) -> Option<f64> {
        self.figures.as_ref()?.to_envoy
    }

    fn cells(&self, title: &str) -> Vec<String> {
        let Some(figures) = &self.figures else {
            return vec![title.to_owned(), self.proxy.clone(), "failed".to_owned()];
        };
        let show = |value: Option<f64>, scale: f64, digits: usize| {
            value.map_or(String::new(), |value| format!("{:.digits$}", value / scale))
        };
        let goal = self.goal.zip(figures.to_envoy);
        let goal = goal.map_or(String::new(), |(goal, ratio)| {
            format!("{goal:.2} {}", verdict(ratio <= goal))
        });
        vec![
            title.to_owned(),
            self.proxy.clone(),
            show(figures.cpu_us_per_unit, 1.0, 1),
            show(figures.to_envoy, 1.0, 2),
            goal,
            format!("{:.0}", figures.units_per_second),
            show(figures.p50_us, 1e3, 2),
            show(figures.p99_us, 1e3, 2),
            show(figures.rss_idle_kib, 1024.0, 1),
            show(figures.rss_loaded_kib, 1024.0, 1),
            show(figures.kib_per_connection, 1.0, 1),
            show(figures.listens_ms, 1.0, 1),
        ]
    }
}

// === impl Figures ===

impl Figures {
    fn of(samples: &[Sample], envoy: Option<&[Sample]>) -> Self {
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        let cpu: Vec<f64> = samples.iter().filter_map(Sample::cpu_us).collect();
        let envoy = envoy.unwrap_or_default().iter().filter_map(Sample::cpu_us);
        let ratios = cpu.iter().zip(envoy).map(|(cpu, envoy)| cpu / envoy);
        let latency = || samples.iter().filter_map(|sample| sample.work.latency);
        let proxy = || samples.iter().filter_map(|sample| sample.proxy);
        let rate = |sample: &Sample| sample.work.units / sample.work.elapsed.as_secs_f64();
        Self {
            cpu_us_per_unit: median(cpu.iter().copied()),
            to_envoy: median(ratios),
            units_per_second: median(samples.iter().map(rate)).unwrap_or_default(),
            p50_us: median(latency().map(|latency| micros(latency.p50))),
            p99_us: median(latency().map(|latency| micros(latency.p99))),
            rss_idle_kib: median(proxy().map(|proxy| proxy.idle.0 as f64)),
            rss_loaded_kib: median(proxy().map(|proxy| proxy.loaded.0 as f64)),
            kib_per_connection: median(samples.iter().filter_map(Sample::kib_per_connection)),
            listens_ms: median(proxy().map(|proxy| proxy.listens.as_secs_f64() * 1e3)),
            all_cpu_us_per_unit: cpu,
        }
    }
}

impl Sample {
    fn cpu_us(&self) -> Option<f64> {
        Some(self.proxy?.cpu.as_secs_f64() * 1e6 / self.work.units)
    }

    fn kib_per_connection(&self) -> Option<f64> {
        let proxy = self.proxy.filter(|_| self.open > 0)?;
        Some(proxy.grown.0 as f64 / self.open as f64)
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
    }
}
