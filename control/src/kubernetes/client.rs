//! The client of the API server.

use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{ControlError, config::Kubernetes};

/// A client as the flags have it. It connects with the first request, so an API server that is away
/// is no error here.
pub(crate) async fn connect(flags: &Kubernetes) -> Result<Client, ControlError> {
    let mut config = match &flags.kubeconfig {
        Some(path) => {
            let wrong = |reason: String| {
                ControlError::Config(format!("--kubeconfig {}: {reason}", path.display()))
            };
            let file = Kubeconfig::read_from(path).map_err(|error| wrong(error.to_string()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| wrong(error.to_string()))?
        }
        None => kube::Config::incluster().map_err(|error| {
            ControlError::Config(format!(
                "neither --manifests nor --kubeconfig is given, and this is no pod with a service \
                 account: {error}"
            ))
        })?,
    };
    // Those who ask try again by themselves, and say so.
    config.default_retry = false;
    Client::try_from(config)
        .map_err(|error| ControlError::Config(format!("cannot reach the API server: {error}")))
}
