//! Logs to standard error, with a filter that can change at run time.

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal as _},
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread,
};

use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};
use weir_proxy::server::LogFilter;

use crate::failure::Failure;

/// The logs of this process.
#[derive(Debug, Clone)]
pub(crate) struct Logging(reload::Handle<EnvFilter, Registry>);

// === impl Logging ===

impl Logging {
    /// Starts to log.
    pub(crate) fn start(filter: &str) -> Result<Self, Failure> {
        let filter = EnvFilter::try_new(filter).map_err(|error| Failure::Usage(error.into()))?;
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
            let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
            self.0.reload(filter).map_err(|error| error.to_string())
        }))
    }
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
