//! Logs to standard error, with a filter that can change at run time.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
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
