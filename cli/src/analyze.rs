//! `weir analyze`: what is ineffective, unreachable, conflicting, dangling or dangerous in what people
//! wrote, before it is applied or where it runs.
//!
//! Objects are read first ([`world`]); what follows from them is found by plain functions, one module a
//! subject. Everything that can be found has a code ([`codes`]).

mod codes;
mod injection;
mod objects;
mod policies;
mod routes;
mod services;
mod world;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use weir_discovery::rules::{KINDS, Settings};

use crate::{cluster::ClusterArgs, meshed::Mesh, objects::Placed, output};

use self::{
    codes::Severity,
    world::{Finding, World},
};

#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    /// Files and directories; without any, the cluster is looked at
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Look at files as if they were applied to the cluster
    #[arg(long, requires = "files")]
    with_cluster: bool,
    /// Only what is found in this namespace, which is also that of objects of files that name none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Fail if something is found that is at least so bad
    #[arg(long, value_enum, default_value_t = Severity::Error)]
    failure_threshold: Severity,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Namespace of the control plane, whose rules are about the whole mesh
    #[arg(long, value_name = "NAME", default_value = "weir-system")]
    root_namespace: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each finding, and what to do
    Text,
    /// For programs
    Json,
}

/// What was found, and in how much.
#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    /// Objects that were looked at.
    objects: usize,
}

/// Kinds that are read of a cluster beside rules, by where the API server has them.
const READ: [(&str, &str); 7] = [
    ("Service", "/api/v1/services"),
    ("Pod", "/api/v1/pods"),
    ("Namespace", "/api/v1/namespaces"),
    (
        "MutatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    ),
    (
        "ServiceEntry",
        "/apis/networking.istio.io/v1/serviceentries",
    ),
    (
        "EnvoyFilter",
        "/apis/networking.istio.io/v1alpha3/envoyfilters",
    ),
    (
        "WasmPlugin",
        "/apis/extensions.istio.io/v1alpha1/wasmplugins",
    ),
];

pub(crate) fn run(args: &AnalyzeArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let report = analyze(args, run_root)?;
    match args.output {
        Output::Text => output::line(report.text().trim_end()),
        Output::Json => output::line(&serde_json::to_string_pretty(&report)?),
    }
    let mut findings = report.findings.iter();
    let fails = findings.any(|it| it.severity >= args.failure_threshold);
    Ok(if fails {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn analyze(args: &AnalyzeArgs, run_root: &Path) -> anyhow::Result<Report> {
    let mut files = crate::objects::read(&args.files)?;
    if let Some(namespace) = &args.namespace {
        let nameless = files
            .iter_mut()
            .map(|it| &mut it.object["metadata"]["namespace"]);
        nameless
            .filter(|it| it.is_null())
            .for_each(|it| *it = namespace.as_str().into());
    }
    let is_live = args.files.is_empty() || args.with_cluster;
    let objects = match is_live {
        false => files,
        true => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            applied(runtime.block_on(fetch(args, run_root))?, files)
        }
    };
    let mut report = Report::of(&World {
        objects,
        settings: Settings {
            root_namespace: args.root_namespace.as_str().into(),
            ..Settings::default()
        },
        is_live,
    });
    if let Some(namespace) = &args.namespace {
        let within = format!(" {namespace}/");
        report.findings.retain(|it| it.object.contains(&within));
    }
    Ok(report)
}

/// What there is once files are applied.
fn applied(cluster: Vec<Placed>, files: Vec<Placed>) -> Vec<Placed> {
    let key = |it: &Placed| {
        let of = [it.group(), it.kind(), it.namespace(), it.name()];
        of.map(str::to_owned)
    };
    let cluster = cluster.into_iter().map(|it| (key(&it), it));
    let mut all: BTreeMap<_, _> = cluster.collect();
    for file in &files {
        all.remove(&key(file));
    }
    all.into_values().chain(files).collect()
}

async fn fetch(args: &AnalyzeArgs, run_root: &Path) -> anyhow::Result<Vec<Placed>> {
    let mesh = Mesh::of(&args.cluster, run_root).await?;
    let rules = KINDS.iter().map(|kind| (kind.kind, kind.group, kind.path));
    let others = READ.map(|(kind, path)| (kind, group_of(path), path));
    let mut objects = Vec::new();
    for (kind, group, path) in others.into_iter().chain(rules) {
        let version = path.split('/').nth(if group.is_empty() { 2 } else { 3 });
        let version = version.unwrap_or_default();
        for mut placed in mesh.objects(kind, path).await? {
            // An item of a list leaves out what the list says.
            placed.object["kind"] = kind.into();
            placed.object["apiVersion"] = match group {
                "" => version.into(),
                group => format!("{group}/{version}").into(),
            };
            placed.file = None;
            objects.push(placed);
        }
    }
    Ok(objects)
}

/// The API group in the path of a list.
fn group_of(path: &str) -> &str {
    let group = path
        .strip_prefix("/apis/")
        .and_then(|rest| rest.split('/').next());
    group.unwrap_or_default()
}

// === impl Report ===

impl Report {
    fn of(world: &World) -> Self {
        let all = [
            objects::analyze,
            routes::analyze,
            policies::analyze,
            services::analyze,
            injection::analyze,
        ];
        let mut findings: Vec<_> = all.iter().flat_map(|analyze| analyze(world)).collect();
        // The worst first.
        findings.sort_by(|one, other| (other.severity, one).cmp(&(one.severity, other)));
        Self {
            findings,
            objects: world.objects.len(),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for it in &self.findings {
            let severity = format!("{:?}", it.severity).to_lowercase();
            let file = it
                .file
                .as_ref()
                .map(|file| format!(" ({file})"))
                .unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{severity:8} {} {}: {}{file}\n         {}: {}\n         -> {}",
                it.code, it.name, it.object, it.field, it.message, it.remedy
            );
        }
        let count = |severity| {
            self.findings
                .iter()
                .filter(|it| it.severity == severity)
                .count()
        };
        let _ = writeln!(
            text,
            "{} objects: {} errors, {} warnings, {} to know",
            self.objects,
            count(Severity::Error),
            count(Severity::Warning),
            count(Severity::Info),
        );
        text
    }
}

#[cfg(test)]
mod tests;
