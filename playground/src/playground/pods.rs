//! Pods of a playground: creating them as the API server does, starting them all at once, waiting
//! for them, running programs in them.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    process::Output,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{Playground, Shared};
use crate::{
    cluster::{
        LivePod, PodKey, PodStatus,
        admission::{self, Admitted, Webhook},
    },
    error::{Error, Result},
    kubelet::{
        log,
        pod::{RunningPod, joinable},
        probe,
        process::Files,
    },
    manifest::{
        Workload,
        workload::{NewPod, uid},
    },
    run,
};

/// How long pods get to end when the playground does: nobody is left whom a gentle end would serve.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// The tasks that look after pods.
#[derive(Default)]
pub(super) struct Pods(Mutex<BTreeMap<PodKey, PodTask>>);

struct PodTask {
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<Result<()>>,
}

// === impl Pods ===

impl Pods {
    fn insert(&self, key: PodKey, task: PodTask) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, task);
    }

    fn take(&self, key: &PodKey) -> Option<PodTask> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
    }

    /// The error of the first pod that has failed.
    async fn failure(&self) -> Option<Error> {
        let failed = {
            let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let key = tasks
                .iter()
                .find(|(_, pod)| pod.task.is_finished())
                .map(|(key, _)| key.clone())?;
            tasks.remove(&key)?
        };
        match failed.task.await {
            Ok(result) => result.err(),
            Err(error) => Some(Error::system("look after a pod")(std::io::Error::other(
                error,
            ))),
        }
    }

    /// Ends every pod.
    pub(super) async fn stop_all(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for pod in tasks.values() {
            let _ = pod.stop.send(Some(LAST_GRACE));
        }
        for (_, pod) in tasks {
            let _ = pod.task.await;
        }
    }
}

// === impl Playground ===

impl Playground {
    /// Creates the pods of `workloads`, through `webhook` where it is to be asked, and starts them.
    ///
    /// # Errors
    /// If one is not admitted or cannot be created.
    pub async fn start(
        &self,
        workloads: &[Workload],
        webhook: Option<&Webhook>,
    ) -> Result<Vec<PodKey>> {
        let mut keys = Vec::new();
        for workload in workloads {
            for new in workload.pods() {
                keys.push(self.create(&workload.namespace, new, webhook).await?);
            }
        }
        self.shared.publish()?;
        for key in &keys {
            self.start_pod(key)?;
        }
        Ok(keys)
    }

    async fn create(
        &self,
        namespace: &str,
        new: NewPod,
        webhook: Option<&Webhook>,
    ) -> Result<PodKey> {
        let key = PodKey::new(namespace, &new.name);
        let wrong = |reason: String| Error::Admission {
            pod: key.to_string(),
            reason,
        };
        let labels = self.shared.cluster().namespace_labels(namespace);
        let asked = webhook.filter(|_| admission::in_scope(&labels, &new.object));
        let Admitted {
            mut object,
            warnings,
        } = match asked {
            Some(webhook) => webhook.admit(namespace, new.object).await.map_err(wrong)?,
            None => Admitted {
                object: new.object,
                warnings: Vec::new(),
            },
        };
        for warning in warnings {
            self.shared.say(&format!("{key}: warning: {warning}"));
        }
        object["metadata"]["name"] = json!(new.name);
        object["metadata"]["uid"] = json!(uid(&format!("Pod/{key}")));
        self.add(&key, object)?;
        Ok(key)
    }

    fn add(&self, key: &PodKey, object: Value) -> Result<()> {
        let pod = serde_path_to_error::deserialize(&object).map_err(|error| Error::Admission {
            pod: key.to_string(),
            reason: format!("{}: {}", error.path(), error.inner()),
        })?;
        let mut cluster = self.shared.cluster();
        let ip = cluster.next_pod_address()?;
        cluster.pods.insert(
            key.clone(),
            LivePod {
                object,
                pod,
                ip,
                status: PodStatus::default(),
            },
        );
        Ok(())
    }

    fn start_pod(&self, key: &PodKey) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let Some(live) = shared.pod(key) else {
            return Ok(());
        };
        let netns = shared.attach(&format!("{}-{}", key.namespace, key.name), live.ip)?;
        let spec = live.pod.spec.unwrap_or_default();
        let init = spec.init_containers.iter().flatten();
        let sidecars =
            init.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        shared.record(run::RunningPod {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            ip: live.ip,
            netns: netns.clone(),
            containers: spec
                .containers
                .iter()
                .chain(sidecars)
                .map(|c| c.name.clone())
                .collect(),
        })?;
        let grace = spec
            .termination_grace_period_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let grace = Duration::from_secs(grace.unwrap_or(30));
        let (stop, receiver) = watch::channel(None);
        let task = tokio::spawn(look_after(shared, key.clone(), netns, grace, receiver));
        self.pods.insert(key.clone(), PodTask { stop, task });
        Ok(())
    }

    /// Deletes a pod as `kubectl delete pod` does: it leaves its Services first, then ends.
    ///
    /// # Errors
    /// If what follows from it cannot be carried out.
    pub async fn delete(&self, key: &PodKey) -> Result<()> {
        self.shared
            .set_status(key, |status| status.terminating = true)?;
        if let Some(pod) = self.pods.take(key) {
            let _ = pod.stop.send(Some(Duration::MAX));
            let _ = pod.task.await;
        }
        self.shared.cluster().pods.remove(key);
        self.shared.publish()
    }

    /// Waits until every pod of `keys` is ready, or finished where it does not stay.
    ///
    /// # Errors
    /// If one fails, or is not ready within `limit`.
    pub async fn wait_ready(&self, keys: &[PodKey], limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut waiting: Vec<&PodKey> = keys.iter().collect();
        loop {
            if let Some(error) = self.pods.failure().await {
                return Err(error);
            }
            waiting.retain(|key| {
                let status = self
                    .shared
                    .pod(key)
                    .map(|pod| pod.status)
                    .unwrap_or_default();
                if status.ready {
                    self.shared.say(&format!("{key} is ready"));
                }
                !status.ready && !status.finished
            });
            let Some(first) = waiting.first() else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let said = log::tails(&self.shared.pod_dir(first));
                return Err(Error::Pod {
                    pod: first.to_string(),
                    reason: format!("not ready within {} s{said}", limit.as_secs()),
                });
            }
            sleep(probe::EAGER_PERIOD).await;
        }
    }

    /// Runs a program in a container of a pod, as that container's user, and returns what it printed.
    ///
    /// # Errors
    /// If the container does not run.
    pub async fn execute(
        &self,
        key: &PodKey,
        container: &str,
        argv: Vec<String>,
    ) -> Result<Output> {
        let wrong = |reason: String| Error::Pod {
            pod: key.to_string(),
            reason,
        };
        let files = Files::of(&self.shared.pod_dir(key), container);
        let joinable = joinable(&files)
            .ok_or_else(|| wrong(format!("container {container} is not running")))?;
        probe::execute_in(&self.shared.programs.weir, &joinable, argv)
            .await
            .map_err(wrong)
    }

    /// Starts a host that is reachable from every pod and that the cluster knows nothing of: a pod
    /// to the machine, none to the API server.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start_outside(&self, name: &str, address: Ipv4Addr, args: &[&str]) -> Result<()> {
        let key = PodKey::new("outside", name);
        let object = json!({
            "metadata": { "namespace": key.namespace, "name": key.name },
            "spec": { "containers": [{ "name": "host", "image": crate::image::ECHO, "args": args }] },
        });
        let pod = serde_json::from_value(object.clone()).map_err(|error| Error::Pod {
            pod: key.to_string(),
            reason: error.to_string(),
        })?;
        let live = LivePod {
            object,
            pod,
            ip: address,
            status: PodStatus::default(),
        };
        let netns = self.shared.attach(&format!("outside-{name}"), address)?;
        self.shared.cluster().add_outside(name, address);
        self.shared.publish()?;
        let (stop, receiver) = watch::channel(None);
        let host = RunningPod::start_as(&self.shared, &key, live, &netns).await?;
        let task = tokio::spawn(async move {
            let grace = asked(receiver).await;
            host.stop(grace).await;
            Ok(())
        });
        self.pods.insert(key, PodTask { stop, task });
        Ok(())
    }
}

/// A pod's task: starts it, keeps its status up to date, ends it when asked.
async fn look_after(
    shared: Arc<Shared>,
    key: PodKey,
    netns: String,
    grace: Duration,
    stop: watch::Receiver<Option<Duration>>,
) -> Result<()> {
    let live = shared.pod(&key);
    let Some(live) = live else { return Ok(()) };
    let pod = tokio::select! {
        pod = RunningPod::start_as(&shared, &key, live, &netns) => pod?,
        // What has been started so far ends with its namespace.
        _ = asked(stop.clone()) => return Ok(()),
    };
    let limit = tokio::select! {
        result = pod.watch() => {
            result?;
            asked(stop).await
        }
        limit = asked(stop.clone()) => limit,
    };
    pod.stop(grace.min(limit)).await;
    Ok(())
}

async fn asked(mut stop: watch::Receiver<Option<Duration>>) -> Duration {
    stop.wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|limit| *limit)
        .unwrap_or_default()
}
