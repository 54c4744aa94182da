//! A pod's life: init containers one after the other, native sidecars among them, then the
//! containers; readiness while it runs; the end in the order Kubernetes keeps.

use std::{path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, PodSpec, Probe};
use tokio::time::{Instant, sleep, timeout};

use super::{
    log,
    probe::{self, Target},
    process::{Files, Joinable, Process, Restart, State},
    resolve::{self, Place},
    volumes,
};
use crate::{
    cluster::{LivePod, PodKey},
    error::{Error, Result},
    image::Program,
    playground::Shared,
};

/// A pod that has been started.
pub struct RunningPod {
    shared: Arc<Shared>,
    key: PodKey,
    live: LivePod,
    dir: PathBuf,
    netns: String,
    sidecars: Vec<Running>,
    containers: Vec<Running>,
}

/// A container of a pod that runs.
struct Running {
    container: Container,
    files: Files,
    process: Process,
    /// What makes it ready, where that is not merely to run.
    readiness: Option<Probe>,
}

// === impl RunningPod ===

impl RunningPod {
    /// Starts the pod's containers and waits until it is initialized and its containers run.
    ///
    /// # Errors
    /// Says which container did not start, and where its log is.
    pub async fn start_as(
        shared: &Arc<Shared>,
        key: &PodKey,
        live: LivePod,
        netns: &str,
    ) -> Result<Self> {
        let dir = shared.pod_dir(key);
        volumes::prepare(&dir, &shared.cluster(), &live)?;
        let mut pod = Self {
            shared: Arc::clone(shared),
            key: key.clone(),
            live,
            dir,
            netns: netns.to_owned(),
            sidecars: Vec::new(),
            containers: Vec::new(),
        };
        let spec = pod.live.pod.spec.clone().unwrap_or_default();
        if let Err(error) = pod.start_containers(&spec).await {
            pod.stop(Duration::ZERO).await;
            return Err(error);
        }
        Ok(pod)
    }

    async fn start_containers(&mut self, spec: &PodSpec) -> Result<()> {
        for container in spec.init_containers.iter().flatten() {
            if container.restart_policy.as_deref() == Some("Always") {
                let sidecar = self.launch(container, Restart::Always)?;
                self.wait_until_started(&sidecar).await?;
                self.sidecars.push(sidecar);
            } else if Program::of(container) == Program::Substitute {
                let (name, image) = (
                    &container.name,
                    container.image.as_deref().unwrap_or_default(),
                );
                self.shared.say(&format!("{}: init container {name} ({image}) is left out: its program is not on this machine", self.key));
            } else {
                self.run_to_completion(container).await?;
            }
        }
        self.shared
            .set_status(&self.key, |status| status.initialized = true)?;
        let restart = match spec.restart_policy.as_deref() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        };
        for container in &spec.containers {
            let running = self.launch(container, restart)?;
            self.wait_until_started(&running).await?;
            self.containers.push(running);
        }
        Ok(())
    }

    fn launch(&self, container: &Container, restart: Restart) -> Result<Running> {
        let lent = self.shared.lent(&self.key);
        let place = Place {
            dir: &self.dir,
            netns: &self.netns,
            lent: &lent,
        };
        let programs = &self.shared.programs;
        let spec = resolve::resolve(
            programs,
            &self.shared.cluster(),
            &self.live,
            container,
            &place,
        )?;
        let files = Files::of(&self.dir, &container.name);
        let mut readiness = container.readiness_probe.clone();
        if Program::of(container) == Program::Substitute {
            let ports = spec.argv[2..].join(" ");
            let image = container.image.as_deref().unwrap_or("no image");
            self.shared.say(&format!(
                "{}: echo stands in for {image} ({ports})",
                self.key
            ));
            readiness = substitute_probe(readiness, &spec.argv);
        }
        let process = Process::start(&programs.weir, &spec, files.clone(), restart)?;
        Ok(Running {
            container: container.clone(),
            files,
            process,
            readiness,
        })
    }

    async fn run_to_completion(&self, container: &Container) -> Result<()> {
        let running = self.launch(container, Restart::Never)?;
        match running.process.ended().await {
            0 => Ok(()),
            code => Err(self.failed(
                &running,
                &format!("init container ended with exit code {code}"),
            )),
        }
    }

    /// Waits until a container runs, its startup probe succeeds and its postStart hook is done.
    async fn wait_until_started(&self, running: &Running) -> Result<()> {
        running.process.started().await;
        let substitute = Program::of(&running.container) == Program::Substitute;
        if let Some(startup) = &running.container.startup_probe
            && !(substitute && startup.exec.is_some())
        {
            let deadline = Instant::now() + probe::patience(startup);
            while let Err(reason) = self.attempt(startup, running).await {
                if Instant::now() > deadline {
                    return Err(self.failed(running, &format!("startup probe: {reason}")));
                }
                sleep(probe::EAGER_PERIOD).await;
            }
        }
        let hook = running
            .container
            .lifecycle
            .as_ref()
            .and_then(|hooks| hooks.post_start.as_ref());
        match hook {
            Some(hook) if !substitute => self
                .call_hook(hook, running)
                .await
                .map_err(|reason| self.failed(running, &format!("postStart: {reason}"))),
            _ => Ok(()),
        }
    }

    async fn call_hook(
        &self,
        hook: &LifecycleHandler,
        running: &Running,
    ) -> std::result::Result<(), String> {
        if let Some(sleep_action) = &hook.sleep {
            sleep(Duration::from_secs(
                u64::try_from(sleep_action.seconds).unwrap_or_default(),
            ))
            .await;
            return Ok(());
        }
        let once = Probe {
            exec: hook.exec.clone(),
            http_get: hook.http_get.clone(),
            tcp_socket: hook.tcp_socket.clone(),
            timeout_seconds: Some(60),
            ..Probe::default()
        };
        self.attempt(&once, running).await
    }

    async fn attempt(&self, probe: &Probe, running: &Running) -> std::result::Result<(), String> {
        let target = Target {
            pod: &self.live.pod,
            ip: self.live.ip,
            weir: &self.shared.programs.weir,
            joinable: joinable(&running.files),
        };
        probe::attempt(probe, &target).await
    }

    /// Keeps the pod's status up to date until it is dropped or its containers have ended.
    ///
    /// # Errors
    /// If what follows from a change cannot be carried out.
    pub async fn watch(&self) -> Result<()> {
        let mut probed = Instant::now();
        let mut ready = false;
        loop {
            let finished = self
                .containers
                .iter()
                .all(|running| matches!(running.process.state(), State::Ended(_)));
            let runs = !finished && self.all_run();
            // Eagerly until it is ready, at the probes' pace from then on.
            if !runs || !ready || probed.elapsed() >= self.probe_period() {
                probed = Instant::now();
                ready = runs && self.answers().await;
            }
            self.shared.set_status(&self.key, |status| {
                status.ready = ready;
                status.finished = finished;
            })?;
            if finished {
                return Ok(());
            }
            sleep(probe::EAGER_PERIOD).await;
        }
    }

    fn probe_period(&self) -> Duration {
        let containers = self.sidecars.iter().chain(&self.containers);
        let probes = containers.filter_map(|running| running.readiness.as_ref());
        probes.map(probe::period).min().unwrap_or(Duration::MAX)
    }

    /// Whether every container runs. One that is done is no reason to be unready; one that waits to
    /// be started again is.
    fn all_run(&self) -> bool {
        let mut containers = self.sidecars.iter().chain(&self.containers);
        containers
            .all(|running| matches!(running.process.state(), State::Running(_) | State::Ended(0)))
    }

    /// Whether every readiness probe succeeds.
    async fn answers(&self) -> bool {
        for running in self.sidecars.iter().chain(&self.containers) {
            if let (State::Running(_), Some(probe)) = (running.process.state(), &running.readiness)
                && self.attempt(probe, running).await.is_err()
            {
                return false;
            }
        }
        true
    }

    /// Ends the pod within `grace`: first the containers, after their preStop hooks, then the
    /// sidecars, last one first.
    pub async fn stop(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let left = || deadline.saturating_duration_since(Instant::now());
        for running in &self.containers {
            let hooks = running.container.lifecycle.as_ref();
            if let Some(hook) = hooks.and_then(|hooks| hooks.pre_stop.as_ref()) {
                let _ = timeout(left(), self.call_hook(hook, running)).await;
            }
        }
        let ending = self
            .containers
            .into_iter()
            .map(|running| tokio::spawn(running.process.stop(left())));
        for task in ending.collect::<Vec<_>>() {
            let _ = task.await;
        }
        for sidecar in self.sidecars.into_iter().rev() {
            sidecar.process.stop(left()).await;
        }
    }

    fn failed(&self, running: &Running, what: &str) -> Error {
        let name = &running.container.name;
        let said = log::tail(&running.files.log, name);
        wrong(&self.key, format!("container {name}: {what}{said}"))
    }
}

/// How to join the container, if it runs.
pub fn joinable(files: &Files) -> Option<Joinable> {
    serde_json::from_slice(&std::fs::read(&files.joinable).ok()?).ok()
}

/// A stand-in has no probe of its own to go by, and none that runs the image's programs would work.
fn substitute_probe(probe: Option<Probe>, argv: &[String]) -> Option<Probe> {
    if probe.as_ref().is_some_and(|probe| probe.exec.is_none()) {
        return probe;
    }
    let port: i32 = argv.get(2)?.rsplit_once('=')?.1.parse().ok()?;
    let socket = serde_json::json!({ "tcpSocket": { "port": port } });
    serde_json::from_value(socket).ok()
}

fn wrong(key: &PodKey, reason: String) -> Error {
    Error::Pod {
        pod: key.to_string(),
        reason,
    }
}
