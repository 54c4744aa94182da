//! Commands into pods: `weir exec` and `weir logs` of a running playground, `weir stats` of a cluster as
//! well.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;
use weir_api::ports;
use weir_playground::{
    container,
    kubelet::{pod::joinable, process::Files},
    playground::pod_dir,
    run::{self, RunningPod},
};

use crate::{output, reach::AnyPodArgs};

/// Which pod.
#[derive(Debug, Args)]
pub(crate) struct PodArgs {
    /// Name of the pod, or the beginning of one, or `namespace/name`
    pod: String,
    /// Namespace of the pod
    #[arg(short, long)]
    namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pod: PodArgs,
    /// Container; the pod's first by default
    #[arg(short, long)]
    container: Option<String>,
    /// Program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pod: PodArgs,
    /// Container; the pod's first by default
    #[arg(short, long)]
    container: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pod: AnyPodArgs,
    /// Only statistics whose name matches this regular expression
    #[arg(long, default_value = "")]
    filter: String,
    /// Statistics that are still zero, too
    #[arg(long)]
    all: bool,
}

pub(crate) fn exec(args: &ExecArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let (dir, pod) = find(&args.pod, run_root)?;
    let name = container_name(&pod, args.container.as_deref())?;
    let joinable = joinable(&Files::of(&dir, &name))
        .with_context(|| format!("container {name} of {} is not running", pod.name))?;
    match container::join_container(&joinable, &args.command)? {}
}

pub(crate) fn logs(args: &LogsArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let (dir, pod) = find(&args.pod, run_root)?;
    // Init containers that are done have logs, too; they are no longer listed.
    let name = match &args.container {
        Some(name) => name.clone(),
        None => container_name(&pod, None)?,
    };
    let log = Files::of(&dir, &name).log;
    let text = fs::read(&log).with_context(|| {
        format!(
            "container {name} of {} has no log; its containers: {}",
            pod.name,
            pod.containers.join(", ")
        )
    })?;
    output::bytes(&text);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn stats(args: &StatsArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let mut path = String::from("/stats?");
    if !args.all {
        path.push_str("usedonly&");
    }
    if !args.filter.is_empty() {
        path.push_str(&format!("filter={}", percent_encode(&args.filter)));
    }
    let path = path.trim_end_matches(['?', '&']);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let text = runtime.block_on(async {
        let pod = args.pod.find(run_root).await?;
        let answer = pod.get(ports::ADMIN, path).await;
        answer.with_context(|| format!("no sidecar answers in {}", pod.name()))
    })?;
    output::bytes(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Finds a pod in the running playgrounds, the newest first.
fn find(wanted: &PodArgs, run_root: &Path) -> anyhow::Result<(PathBuf, RunningPod)> {
    let mut runs = run::live(run_root);
    runs.reverse();
    if runs.is_empty() {
        bail!("no demo is running; start one with `weir demo`");
    }
    let (namespace, name) = match wanted.pod.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (wanted.namespace.as_deref(), wanted.pod.as_str()),
    };
    for (dir, state) in &runs {
        let in_namespace =
            |pod: &&RunningPod| namespace.is_none_or(|namespace| pod.namespace == namespace);
        let candidates: Vec<&RunningPod> = state.pods.iter().filter(in_namespace).collect();
        let exact = candidates.iter().find(|pod| pod.name == name);
        if let Some(pod) =
            exact.or_else(|| candidates.iter().find(|pod| pod.name.starts_with(name)))
        {
            return Ok((pod_dir(dir, &pod.namespace, &pod.name), (*pod).clone()));
        }
    }
    let all = runs.iter().flat_map(|(_, state)| &state.pods);
    let all: Vec<String> = all
        .map(|pod| format!("{}/{}", pod.namespace, pod.name))
        .collect();
    bail!(
        "there is no pod {}; there are {}",
        wanted.pod,
        all.join(", ")
    )
}

fn container_name(pod: &RunningPod, wanted: Option<&str>) -> anyhow::Result<String> {
    let found = match wanted {
        Some(name) => pod.containers.iter().find(|container| *container == name),
        None => pod.containers.first(),
    };
    found.cloned().with_context(|| {
        format!(
            "{} has no such container; it has {}",
            pod.name,
            pod.containers.join(", ")
        )
    })
}

fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
