//! Logs to standard error, with a filter that can change at run time.

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal as _},
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread,
};

use anyhow::ensure;
use tracing_subscriber::{
    Registry, filter::Targets, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};
use weir_proxy::server::LogFilter;

use crate::failure::Failure;

/// The logs of this process.
#[derive(Debug, Clone)]
pub(crate) struct Logging(reload::Handle<Targets, Registry>);

// === impl Logging ===

impl Logging {
    /// Starts to log.
    pub(crate) fn start(filter: &str) -> Result<Self, Failure> {
        let filter = read(filter).map_err(Failure::Usage)?;
        let (filter, handle) = reload::Layer::new(filter);
        let is_terminal = io::stderr().is_terminal();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(is_terminal);
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .init();
        panic::set_hook(Box::new(log_panic));
        Ok(Self(handle))
    }

    /// Changes the filter, for the admin interface.
    pub(crate) fn filter(self) -> LogFilter {
        LogFilter(Arc::new(move |text| {
            let filter = read(text).map_err(|error| error.to_string())?;
            self.0.reload(filter).map_err(|error| error.to_string())
        }))
    }
}

/// Levels of targets. There are no spans to filter by, and what could is 0.2 MiB of regular expressions.
fn read(filter: &str) -> anyhow::Result<Targets> {
    ensure!(
        !filter.contains(['[', '{']),
        "{filter:?}: levels of targets alone are supported, such as info,weir_proxy=debug"
    );
    let directives: Vec<&str> = filter
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    Ok(directives.join(",").parse()?)
}

/// A panic as one error line. What it ended is the proxy's to say: it counts those it contained.
fn log_panic(info: &PanicHookInfo<'_>) {
    let at = info.location().map(ToString::to_string);
    // Addresses, too: where symbols are stripped there is nothing else.
    let backtrace = one_line(&format!("{:#}", Backtrace::force_capture()));
    tracing::error!(
        panic = info.payload_as_str().unwrap_or("no text"),
        at = at.as_deref().unwrap_or_default(),
        thread = thread::current().name().unwrap_or_default(),
        backtrace,
        "panicked; this is a bug",
    );
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_has_a_level_and_levels_of_targets() {
        let filter = read("info, weir_proxy::xds=debug,").expect("a filter");
        assert!(filter.would_enable("weir_agent", &Level::INFO));
        assert!(!filter.would_enable("weir_proxy::admin", &Level::DEBUG));
        assert!(filter.would_enable("weir_proxy::xds::client", &Level::DEBUG));
    }

    #[test]
    fn no_filter_is_errors_alone() {
        let filter = read("").expect("a filter");
        assert!(filter.would_enable("weir_agent", &Level::ERROR));
        assert!(!filter.would_enable("weir_agent", &Level::WARN));
    }

    #[test]
    fn what_is_no_level_of_a_target_is_refused() {
        for wrong in [
            "weir_proxy=loud",
            "info,a=b=c",
            "[span]=info",
            "a[{b}]=info",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
