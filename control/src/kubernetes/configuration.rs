//! The ConfigMap with the configuration: watched, and taken over while everything runs.

use std::sync::{Arc, atomic::Ordering};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use tokio::sync::watch;
use weir_discovery::xds::{Hub, MeshConfig};
use weir_injector::webhook::Injector;

use super::{
    Shared,
    events::{Events, Kind, Note},
    failure,
    metrics::increment,
};
use crate::{
    configuration::{injector_config, mesh_config},
    run::Known,
};

/// What `/ready` calls this.
const SUBJECT: &str = "configuration";
/// Key with the injector's configuration.
const INJECTOR: &str = "injector.yaml";
/// Key with mesh-wide settings.
const MESH: &str = "mesh.yaml";

/// Keeps what is in force at what the ConfigMap says.
pub(crate) struct ConfigurationKeeper {
    pub(crate) api: Api<ConfigMap>,
    pub(crate) name: String,
    /// The injector's configuration where the ConfigMap has none.
    pub(crate) default: weir_injector::Config,
    pub(crate) injector: Arc<Injector>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) shared: Shared,
    pub(crate) events: Events,
    /// Told when there is a configuration.
    pub(crate) known: watch::Sender<Known>,
}

/// Both parts of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Configuration {
    pub(crate) injector: weir_injector::Config,
    pub(crate) mesh: MeshConfig,
}

// === impl ConfigurationKeeper ===

impl ConfigurationKeeper {
    /// Never returns.
    pub(crate) async fn run(self) {
        let reason = format!("ConfigMap {} was not read yet", self.name);
        self.shared.health.unready(SUBJECT, reason);
        let objects = watch_object(self.api.clone(), &self.name).default_backoff();
        let mut objects = std::pin::pin!(objects);
        let mut in_force = None;
        while let Some(object) = objects.next().await {
            match object {
                Ok(object) => self.see(object.as_ref(), &mut in_force),
                Err(error) => {
                    let reason = failure(&error);
                    tracing::warn!(
                        config_map = self.name,
                        reason,
                        "cannot read the configuration"
                    );
                    if in_force.is_none() {
                        let reason = format!("ConfigMap {}: {reason}", self.name);
                        self.shared.health.unready(SUBJECT, reason);
                    }
                }
            }
        }
    }

    fn see(&self, object: Option<&ConfigMap>, in_force: &mut Option<Configuration>) {
        let Some(object) = object else {
            if in_force.is_some() {
                tracing::warn!(
                    config_map = self.name,
                    "gone; the configuration stays in force"
                );
                return;
            }
            tracing::warn!(config_map = self.name, "not there; defaults are in force");
            let default = read(&ConfigMap::default(), &self.default);
            if let Ok(default) = default {
                self.take(default, in_force);
            }
            return;
        };
        match read(object, &self.default) {
            Ok(new) if in_force.as_ref() == Some(&new) => {
                self.shared
                    .metrics
                    .config_in_force
                    .store(1, Ordering::Relaxed);
            }
            Ok(new) => self.take(new, in_force),
            Err(reason) => self.refuse(object, &reason, in_force.is_some()),
        }
    }

    fn take(&self, new: Configuration, in_force: &mut Option<Configuration>) {
        self.injector.set_config(new.injector.clone());
        self.hub.set_mesh_config(new.mesh.clone());
        *in_force = Some(new);
        increment(&self.shared.metrics.config_reloads);
        self.shared
            .metrics
            .config_in_force
            .store(1, Ordering::Relaxed);
        self.shared.health.ready(SUBJECT);
        self.known.send_modify(|known| known.configuration = true);
        tracing::info!(config_map = self.name, "the configuration is in force");
    }

    fn refuse(&self, object: &ConfigMap, reason: &str, has_one: bool) {
        increment(&self.shared.metrics.config_refusals);
        self.shared
            .metrics
            .config_in_force
            .store(0, Ordering::Relaxed);
        tracing::error!(config_map = self.name, reason, "refused the configuration");
        let consequence = match has_one {
            true => "the one before stays in force",
            false => "no webhook is served until it is right",
        };
        if !has_one {
            let reason = format!("ConfigMap {}: {reason}", self.name);
            self.shared.health.unready(SUBJECT, reason);
        }
        self.events.say(Note {
            about: object.object_ref(&()),
            kind: Kind::Warning,
            reason: "ConfigurationRefused",
            action: "Reload",
            text: format!("{reason}; {consequence}"),
        });
    }
}

/// Reads both parts. A part that is absent has its defaults.
fn read(object: &ConfigMap, default: &weir_injector::Config) -> Result<Configuration, String> {
    let part = |key: &str| {
        let text = object.data.as_ref().and_then(|data| data.get(key));
        text.filter(|text| !text.trim().is_empty())
    };
    let injector = match part(INJECTOR) {
        None => default.clone(),
        Some(text) => injector_config(text).map_err(|reason| format!("{INJECTOR}: {reason}"))?,
    };
    let mesh = match part(MESH) {
        None => MeshConfig::default(),
        Some(text) => mesh_config(text).map_err(|reason| format!("{MESH}: {reason}"))?,
    };
    Ok(Configuration { injector, mesh })
}

#[cfg(test)]
mod tests;
