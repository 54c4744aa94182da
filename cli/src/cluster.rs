//! Reaching a cluster: which API server, as whom, and which installation of Weir there.

use std::{fmt, path::PathBuf};

use anyhow::anyhow;
use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// The revision whose objects' names have no suffix.
pub(crate) const DEFAULT_REVISION: &str = "default";

/// Which cluster, and which Weir in it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// File that says how to reach the API server [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Revision of Weir, where several are installed
    #[arg(long, value_name = "NAME", default_value = DEFAULT_REVISION)]
    pub(crate) revision: String,
}

// === impl ClusterArgs ===

impl ClusterArgs {
    /// A client of the cluster. Nothing is sent yet.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let config = self.config().await?;
        let server = config.cluster_url.to_string();
        Client::try_from(config).map_err(|error| anyhow!("API server {server}: {error}"))
    }

    /// Whether a cluster was asked for by name, by a flag or by `KUBECONFIG`.
    pub(crate) fn is_named(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || kubeconfig_variable().is_some()
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        if let Some(path) = &self.kubeconfig {
            let file = format!("--kubeconfig {}", path.display());
            let kubeconfig =
                Kubeconfig::read_from(path).map_err(|error| anyhow!("{file}: {error}"))?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            return config.map_err(|error| anyhow!("{file}: {error}"));
        }
        match Config::from_kubeconfig(&options).await {
            Ok(config) => Ok(config),
            // A pod has no kubeconfig, but a service account.
            Err(error) => match (self.context.is_none(), Config::incluster()) {
                (true, Ok(config)) => Ok(config),
                _ => Err(anyhow!("no cluster: {}: {error}", kubeconfig_in_use())),
            },
        }
    }
}

/// `KUBECONFIG`; as for kubectl, an empty one is none.
fn kubeconfig_variable() -> Option<String> {
    let value = std::env::var("KUBECONFIG").ok();
    value.filter(|path| !path.is_empty())
}

/// Says which kubeconfig is looked at without `--kubeconfig`.
fn kubeconfig_in_use() -> String {
    match kubeconfig_variable() {
        Some(path) => format!("KUBECONFIG names {path}"),
        None => "KUBECONFIG is not set and ~/.kube/config is of no use (--kubeconfig FILE names \
             another)"
            .to_owned(),
    }
}

impl fmt::Display for ClusterArgs {
    /// Where the cluster's address is from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kubeconfig, kubeconfig_variable()) {
            (Some(path), _) => write!(f, "the cluster of --kubeconfig {}", path.display())?,
            (None, Some(path)) => write!(f, "the cluster of KUBECONFIG {path}")?,
            (None, None) => write!(f, "the cluster of ~/.kube/config or of this pod")?,
        }
        match &self.context {
            Some(context) => write!(f, " (context {context})"),
            None => Ok(()),
        }
    }
}

/// What went wrong with a request, without the layers around it.
pub(crate) fn reason(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        let said = Some(&status.message).filter(|message| !message.is_empty());
        return said.unwrap_or(&status.reason).clone();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Name of one of Weir's objects under a revision.
pub(crate) fn named(name: &str, revision: &str) -> String {
    if revision == DEFAULT_REVISION {
        name.to_owned()
    } else {
        format!("{name}-{revision}")
    }
}
