//! Without an API server: services from manifests, certificates and configuration from files.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};
use weir_discovery::{
    manifests::{self, Directory},
    model::Event,
    publish,
};
use weir_injector::webhook::Injector;

use super::{EVENT_BATCHES, Known, Parts};
use crate::{Config, ControlError, certificates::Certificates};

/// Everything that files say, read before anything is served.
pub(super) struct Files {
    directory: Directory,
    initial: Vec<Event>,
    injector: weir_injector::Config,
    certificates: Certificates,
}

// === impl Files ===

impl Files {
    /// Reads the manifests and all else.
    pub(super) fn open(config: &Config, manifests: &std::path::Path) -> Result<Self, ControlError> {
        let (directory, initial) = Directory::open(manifests).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            ControlError::Config(format!("--manifests: {}", errors.join("\n  ")))
        })?;
        let injector = injector_config(config)?;
        let certificates = Certificates::open(&config.certs_dir, &config.serving_names())
            .map_err(|error| ControlError::Config(format!("--certs-dir: {error}")))?;
        Ok(Self {
            directory,
            initial,
            injector,
            certificates,
        })
    }

    pub(super) fn parts(&self, config: &Config) -> Parts {
        let serving = Arc::clone(self.certificates.serving());
        Parts::new(config, Injector::new(self.injector.clone()), serving)
    }

    /// Follows what the files say.
    pub(super) fn start(self, parts: &Parts, background: &mut JoinSet<()>) {
        let (events, batches) = mpsc::channel(EVENT_BATCHES);
        background.spawn(manifests::watch(self.directory, events));
        background.spawn(publish::publish(self.initial, batches, parts.hub.clone()));
        let certificates = self.certificates;
        background.spawn(async move { certificates.keep_fresh().await });
        parts.known.send_replace(Known {
            configuration: true,
            kubelets: true,
        });
    }
}

fn injector_config(config: &Config) -> Result<weir_injector::Config, ControlError> {
    let Some(path) = &config.injector_config else {
        return Ok(super::default_injector(config));
    };
    let wrong = |reason: String| {
        ControlError::Config(format!("--injector-config {}: {reason}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let document = yaml_serde::Deserializer::from_str(&text);
    weir_injector::Config::read(document).map_err(|error| wrong(error.to_string()))
}
