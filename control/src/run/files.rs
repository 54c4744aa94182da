//! Without an API server: services from manifests, certificates and configuration from files.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};
use weir_discovery::{
    manifests::{self, Directory},
    model::Event,
    publish,
    xds::{Authenticator, MeshConfig, ROOT_CA},
};

use super::{EVENT_BATCHES, Known, Parts, hub, injector, settings_file::SettingsFile};
use crate::{
    Config, ControlError, certificates::Certificates, configuration, service_account::SignedTokens,
};

/// Everything that files say, read before anything is served.
pub(super) struct Files {
    directory: Directory,
    initial: Vec<Event>,
    injector: weir_injector::Config,
    injector_file: Option<SettingsFile<weir_injector::Config>>,
    mesh: MeshConfig,
    mesh_file: Option<SettingsFile<MeshConfig>>,
    certificates: Certificates,
    tokens: Option<Arc<SignedTokens>>,
}

// === impl Files ===

impl Files {
    /// Reads the manifests and all else.
    pub(super) fn open(config: &Config, manifests: &std::path::Path) -> Result<Self, ControlError> {
        let rules = super::rule_settings(&config.kubernetes, &config.cluster_domain);
        let (directory, initial) = Directory::open(manifests, rules).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            ControlError::Config(format!("--manifests: {}", errors.join("\n  ")))
        })?;
        let (injector_file, injector) = match &config.injector_config {
            None => (None, super::default_injector(config)),
            Some(path) => {
                let read = configuration::injector_config;
                let (file, injector) = SettingsFile::open("--injector-config", path, read)?;
                (Some(file), injector)
            }
        };
        let (mesh_file, mesh) = match &config.mesh_config {
            None => (None, MeshConfig::default()),
            Some(path) => {
                let read = configuration::mesh_config;
                let (file, mesh) = SettingsFile::open("--mesh-config", path, read)?;
                (Some(file), mesh)
            }
        };
        let certificates = Certificates::open(&config.certs_dir, &config.serving_names())
            .map_err(|error| ControlError::Config(format!("--certs-dir: {error}")))?;
        let tokens = config
            .service_account_key
            .as_deref()
            .map(SignedTokens::open);
        Ok(Self {
            directory,
            initial,
            injector,
            injector_file,
            mesh,
            mesh_file,
            certificates,
            tokens: tokens.transpose()?.map(Arc::new),
        })
    }

    pub(super) fn parts(&self, config: &Config) -> Parts {
        let serving = Arc::clone(self.certificates.serving());
        let rules = super::rule_settings(&config.kubernetes, &config.cluster_domain);
        let hub = hub(config);
        let injector = injector(self.injector.clone(), &rules, &hub);
        Parts::new(config, hub, injector, serving)
    }

    /// Tells who a sidecar is, if anybody can.
    pub(super) fn authenticator(&self) -> Option<Arc<dyn Authenticator>> {
        let tokens = self.tokens.clone()?;
        Some(tokens)
    }

    /// Follows what the files say.
    pub(super) fn start(self, parts: &Parts, background: &mut JoinSet<()>) {
        parts.hub.set_mesh_config(self.mesh);
        if let Some(file) = self.mesh_file {
            let hub = parts.hub.clone();
            background.spawn(file.follow(move |mesh| hub.set_mesh_config(mesh)));
        }
        if let Some(file) = self.injector_file {
            let injector = parts.injector.clone();
            background.spawn(file.follow(move |config| injector.set_config(config)));
        }
        let (events, batches) = mpsc::channel(EVENT_BATCHES);
        background.spawn(manifests::watch(self.directory, events));
        background.spawn(publish::publish(self.initial, batches, parts.hub.clone()));
        let certificates = self.certificates;
        parts.issuer.set(certificates.signing());
        let root = certificates.root_pem().as_bytes().to_vec();
        parts.hub.set_trusted([(ROOT_CA.to_owned(), root)].into());
        background.spawn(async move { certificates.keep_fresh().await });
        parts.known.send_replace(Known {
            configuration: true,
            kubelets: true,
        });
    }
}
