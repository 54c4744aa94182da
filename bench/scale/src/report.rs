//! The figures, as a table and as JSON.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use comfy_table::{Table, presets};

use crate::measure::Outcome;

/// All outcomes.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Outcome>);

// === impl Report ===

impl Report {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.0.push(outcome);
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header([
            "services",
            "endpoints",
            "listing, MiB",
            "sync, s",
            "synced, MiB (peak)",
            "clients",
            "all connected, s",
            "with clients, MiB (peak)",
            "event to ACK p50, ms",
            "p99",
            "max",
            "sidecar, MiB",
        ]);
        for it in &self.0 {
            let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
            table.add_row([
                it.services.to_string(),
                it.endpoints.to_string(),
                mib(it.listing as u64),
                format!("{:.2}", it.sync_s),
                format!("{} ({})", mib(it.synced.now), mib(it.synced.peak)),
                it.clients.to_string(),
                format!("{:.2}", it.connect_s),
                format!("{} ({})", mib(it.served.now), mib(it.served.peak)),
                format!("{:.0}", it.p50_ms),
                format!("{:.0}", it.p99_ms),
                format!("{:.0}", it.max_ms),
                it.sidecar.map_or("-".to_owned(), |bytes| {
                    format!("{:.2}", bytes as f64 / f64::from(1 << 20))
                }),
            ]);
        }
        table
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0)?;
        fs::write(path, text + "\n").with_context(|| path.display().to_string())
    }
}
