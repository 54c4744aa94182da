//! All pods with a sidecar, of the demo or of a cluster, and how they are asked.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{anyhow, bail};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use weir_api::{annotations, ports, sidecar};
use weir_playground::run;

use crate::{
    cluster::{ClusterArgs, reason},
    objects::{self, Placed},
    output,
    reach::{self, Reach},
};

/// Pods that are asked at a time.
const AT_A_TIME: usize = 16;

/// A pod with a sidecar.
pub(crate) struct Meshed {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) reach: Reach,
}

/// Who runs the pods.
pub(crate) enum Mesh {
    /// The demo, and the directory of its objects.
    Demo(PathBuf),
    Cluster(Client),
}

/// All pods with a sidecar.
pub(crate) async fn pods(
    cluster: &ClusterArgs,
    run_root: &Path,
) -> anyhow::Result<(Mesh, Vec<Meshed>)> {
    if reach::asks_demo(cluster, run_root) {
        let runs = run::live(run_root);
        let Some((directory, state)) = runs.last() else {
            bail!("the demo has ended");
        };
        let meshed = state.pods.iter().filter(|pod| {
            let mut containers = pod.containers.iter();
            containers.any(|container| container == sidecar::PROXY_CONTAINER)
        });
        let pods = meshed.map(|pod| Meshed {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            reach: reach::of_playground(pod),
        });
        return Ok((Mesh::Demo(directory.join("objects")), pods.collect()));
    }
    let client = cluster.client().await?;
    let all: Api<Pod> = Api::all(client.clone());
    let running = ListParams::default().fields("status.phase=Running");
    let found = all.list_metadata(&running).await;
    let found = found.map_err(|error| anyhow!("pods of all namespaces: {}", reason(&error)))?;
    let meshed = found.items.into_iter().filter_map(|pod| {
        let annotations = pod.metadata.annotations.as_ref()?;
        annotations.get(annotations::STATUS)?;
        let (namespace, name) = (pod.metadata.namespace?, pod.metadata.name?);
        let pods = Api::namespaced(client.clone(), &namespace);
        Some(Meshed {
            reach: Reach::Cluster {
                name: name.clone(),
                pods: Box::new(pods),
            },
            namespace,
            name,
        })
    });
    let meshed = meshed.collect();
    Ok((Mesh::Cluster(client), meshed))
}

/// Asks all of them for a page of their admin interface, `what` in words, and hands over each answer.
/// Who does not answer is named, and does not hide the others.
///
/// # Errors
/// None of them answers.
pub(crate) async fn ask<'p>(
    pods: &'p [Meshed],
    path: &str,
    what: &str,
    mut take: impl FnMut(&'p Meshed, &str),
) -> anyhow::Result<()> {
    let asked = pods
        .iter()
        .map(|pod| async move { (pod, pod.reach.get(ports::ADMIN, path).await) });
    let mut answers = stream::iter(asked).buffer_unordered(AT_A_TIME);
    let mut silent = 0;
    while let Some((pod, answer)) = answers.next().await {
        match answer {
            Ok(text) => take(pod, &text),
            Err(error) => {
                silent += 1;
                let name = pod.reach.name();
                output::error(&format!("weir: no {what} of {name}: {error:#}"));
            }
        }
    }
    if silent == pods.len() {
        bail!("none of {silent} sidecars answers");
    }
    Ok(())
}

// === impl Mesh ===

impl Mesh {
    /// All objects of a kind, by its name and by where the API server has them. A kind that is not served
    /// has none.
    pub(crate) async fn objects(&self, kind: &str, path: &str) -> anyhow::Result<Vec<Placed>> {
        match self {
            Self::Demo(directory) => {
                let mut all = objects::read(std::slice::from_ref(directory))?;
                all.retain(|it| it.kind() == kind);
                Ok(all)
            }
            Self::Cluster(client) => {
                let listed = listed(client, path).await;
                let listed = listed.map_err(|error| anyhow!("{path}: {}", reason(&error)))?;
                let placed = listed.into_iter();
                Ok(placed.map(|object| Placed { file: None, object }).collect())
            }
        }
    }

    /// Labels of all pods, by namespace and name.
    pub(crate) async fn labels(&self) -> anyhow::Result<BTreeMap<(String, String), Labels>> {
        let pods = self.objects("Pod", "/api/v1/pods").await?;
        let labels = pods.iter().map(|pod| {
            let name = (pod.namespace().to_owned(), pod.name().to_owned());
            let labels = &pod.object["metadata"]["labels"];
            (
                name,
                serde_json::from_value(labels.clone()).unwrap_or_default(),
            )
        });
        Ok(labels.collect())
    }
}

/// Labels of a pod.
pub(crate) type Labels = BTreeMap<String, String>;

/// All objects there, as the API server has them; none where it has no such place.
async fn listed(client: &Client, path: &str) -> Result<Vec<serde_json::Value>, kube::Error> {
    /// What an API server says of a kind that it does not serve.
    const NOT_SERVED: u16 = 404;
    let mut objects = Vec::new();
    let take = |object| objects.push(object);
    match crate::check::each_raw(client, path, crate::check::PAGE, take).await {
        Err(kube::Error::Api(status)) if status.code == NOT_SERVED => Ok(Vec::new()),
        read => read.map(|()| objects),
    }
}
