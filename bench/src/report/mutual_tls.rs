//! What mutual TLS is held against beside Envoy's mutual TLS: Envoy without it, and what cryptography
//! costs by itself.

use std::fmt::Write;

use super::{Figures, Report, verdict};
use crate::{
    scenario::{Floor, Scenario, Sidecars},
    scenarios::SCENARIOS,
};

/// At most, of Weir, in parts of what Envoy's sidecars take for the same without TLS.
const GOAL_TO_PLAINTEXT: (&str, f64) = ("mtls-http1-64", 0.70);
/// At most, of Weir: memory of the sidecar that needs more for a connection.
const GOAL_IDLE_KIB: (&str, f64) = ("mtls-idle", 20.0);
/// MB in a MiB.
const MB: f64 = super::MIB / 1e6;

/// A line for each.
pub(super) fn notes(report: &Report) -> String {
    let notes = SCENARIOS.iter().flat_map(|scenario| {
        let of = |note: fn(&Report, &Scenario) -> Option<String>| note(report, scenario);
        [to_plaintext, to_floor, of_a_connection].map(of)
    });
    notes.flatten().collect()
}

/// CPU time of a unit beside Envoy's where the sidecars speak without TLS.
fn to_plaintext(report: &Report, scenario: &Scenario) -> Option<String> {
    scenario.sessions()?;
    let same = |other: &&Scenario| other.sidecars == Sidecars::Both && other.load == scenario.load;
    let plaintext = SCENARIOS.iter().find(same)?;
    let mut envoys = report
        .figures(plaintext)
        .filter(|(proxy, _)| *proxy == "Envoy");
    let envoy = envoys.next()?.1.cpu_us_per_unit?;
    let heading = format!("{}, CPU to Envoy's without TLS:", scenario.title);
    let ratio = |figures: &Figures| Some(figures.cpu_us_per_unit? / envoy);
    line(report, scenario, heading, 2, Some(GOAL_TO_PLAINTEXT), ratio)
}

/// Units for a second of CPU time of both sidecars beside those that cryptography alone would let pass.
fn to_floor(report: &Report, scenario: &Scenario) -> Option<String> {
    let floor = scenario.floor()?;
    let (unit, parts) = match floor {
        Floor::FullHandshake => ("handshakes", 1.0),
        Floor::ResumedHandshake => ("handshakes that resume", 1.0),
        Floor::Bytes => ("MB", MB),
    };
    let rate = |micros: f64| parts * 1e6 / micros;
    let speed = report.speed?;
    let heading = format!(
        "{unit} for a second of CPU of both sidecars: openssl speed {:.0},",
        rate(speed.micros(floor))
    );
    let rate = |figures: &Figures| figures.cpu_us_per_unit.map(rate);
    line(report, scenario, heading, 0, None, rate)
}

/// Memory of an idle connection.
fn of_a_connection(report: &Report, scenario: &Scenario) -> Option<String> {
    if scenario.name != GOAL_IDLE_KIB.0 {
        return None;
    }
    let heading = format!("{}, KiB of a connection:", scenario.title);
    let memory = |figures: &Figures| figures.kib_per_connection;
    line(report, scenario, heading, 1, Some(GOAL_IDLE_KIB), memory)
}

/// `heading`, then each proxy's value. None where no proxy has any.
fn line(
    report: &Report,
    scenario: &Scenario,
    heading: String,
    digits: usize,
    goal: Option<(&str, f64)>,
    value: impl Fn(&Figures) -> Option<f64>,
) -> Option<String> {
    let mut text = heading;
    let before = text.len();
    for (proxy, figures) in report.figures(scenario) {
        let Some(value) = value(figures) else {
            continue;
        };
        let separator = if text.len() == before { "" } else { "," };
        // Writing into a String cannot fail.
        let _ = write!(text, "{separator} {proxy} {value:.digits$}");
        let goal = goal.filter(|(name, _)| *name == scenario.name && proxy == "Weir");
        if let Some((_, goal)) = goal {
            let _ = write!(text, " (goal {goal:.digits$} {})", verdict(value <= goal));
        }
    }
    (text.len() > before).then(|| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{machine::Machine, report::Row, speed::Speed};

    fn row(scenario: &'static str, proxy: &str, cpu: f64, memory: Option<f64>) -> Row {
        Row {
            scenario,
            title: scenario,
            unit: "unit",
            proxy: proxy.to_owned(),
            goal: None,
            error: None,
            figures: Some(Figures {
                cpu_us_per_unit: Some(cpu),
                to_envoy: None,
                units_per_second: 1.0,
                p50_us: None,
                p99_us: None,
                rss_idle_kib: None,
                rss_loaded_kib: None,
                kib_per_connection: memory,
                listens_ms: None,
                all_cpu_us_per_unit: Vec::new(),
            }),
        }
    }

    fn report(speed: Option<Speed>, rows: Vec<Row>) -> Report {
        Report {
            machine: Machine::this(),
            rounds: 1,
            seconds: 1,
            proxies: Vec::new(),
            speed,
            rows,
            peers: Vec::new(),
        }
    }

    #[test]
    fn each_note_compares_what_was_measured() {
        let speed = Speed {
            p256_signatures: 40_000.0,
            p256_verifications: 10_000.0,
            x25519_exchanges: 25_000.0,
            aes_128_gcm_bytes: 2e9,
        };
        let rows = vec![
            row("both-http1-64", "Envoy", 100.0, None),
            row("mtls-http1-64", "Envoy", 200.0, None),
            row("mtls-http1-64", "Weir", 65.0, None),
            row("mtls-handshake", "Weir", 1000.0, None),
            row("mtls-tcp-bulk", "Weir", 1048.576, None),
            row("mtls-idle", "Envoy", 1.0, Some(40.0)),
            row("mtls-idle", "Weir", 1.0, Some(20.5)),
        ];
        let notes = notes(&report(Some(speed), rows));
        assert_eq!(
            notes.lines().collect::<Vec<_>>(),
            [
                "HTTP/1.1, 64 connections, mutual TLS, CPU to Envoy's without TLS: Envoy 2.00, \
                 Weir 0.65 (goal 0.70 met)",
                "handshakes for a second of CPU of both sidecars: openssl speed 1887, Weir 1000",
                "MB for a second of CPU of both sidecars: openssl speed 1000, Weir 1000",
                "TCP, idle connections, mutual TLS, KiB of a connection: Envoy 40.0, \
                 Weir 20.5 (goal 20.0 missed)",
            ]
        );
    }

    #[test]
    fn what_was_not_measured_has_no_note() {
        let rows = vec![row("mtls-http1-64", "Weir", 65.0, None)];
        assert_eq!(notes(&report(None, rows)), "");
    }
}
