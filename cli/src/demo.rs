//! `weir demo`: a small mesh on this machine, the calls made through it, and what became of them.

use std::{
    io::{IsTerminal, stderr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use weir_playground::{Options, Playground, cluster::PodKey, image::Programs, manifest::Manifests};

use crate::output;

mod check;
mod manifests;
mod observe;
mod plan;
mod report;
mod world;

use world::World;

/// How long the pods of a demo get to become ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// What the echo application of the host outside the cluster listens on.
const OUTSIDE_ARGS: [&str; 1] = ["--http=8080"];

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Directory (or file) of Kubernetes manifests to run in place of the built-in shop
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Exit after the calls: with 0 if each did what it should, else with 1
    #[arg(long)]
    once: bool,
    /// Print the calls and the statistics as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Make the same calls without the mesh, to compare
    #[arg(long)]
    without_mesh: bool,
}

/// A demo that has been thought through but not begun.
struct Demo {
    args: DemoArgs,
    manifests: Manifests,
    began: Instant,
}

pub(crate) fn run(args: DemoArgs, run_root: &Path) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let manifests = match &args.manifests {
        None => manifests::shop()?,
        Some(path) if args.without_mesh => manifests::foreign(path, &|_| {})?,
        Some(path) => manifests::foreign(path, &say)?,
    };
    let weir = std::env::current_exe().context("cannot find this program's own file")?;
    let programs = Programs::beside(weir, |variable| {
        std::env::var_os(variable).map(PathBuf::from)
    });
    if !args.without_mesh {
        programs.agent()?;
        programs.control()?;
    }
    let progress = move |text: &str| {
        let elapsed = began.elapsed().as_secs_f64();
        output::error(&format!("{elapsed:6.2}s  {text}"));
    };
    let options = Options {
        programs,
        root: run_root.to_owned(),
        progress: Arc::new(progress),
    };
    let demo = Demo {
        args,
        manifests,
        began,
    };
    let code = Playground::run(options, async move |playground| demo.run(playground).await)?;
    Ok(code.unwrap_or_else(|| {
        say("interrupted; everything is gone again");
        ExitCode::SUCCESS
    }))
}

fn say(text: &str) {
    output::error(text);
}

// === impl Demo ===

impl Demo {
    async fn run(self, playground: &Playground) -> anyhow::Result<ExitCode> {
        let keys = self.build(playground).await?;
        let world = World::of(playground, &keys);
        let calls = match self.args.manifests {
            None => plan::shop(&world)?,
            Some(_) => plan::derived(&world),
        };
        playground
            .shared()
            .say(&format!("making {} calls", calls.len()));
        let mut rows = Vec::new();
        for call in calls {
            rows.push(observe::make(playground, &world, call).await);
        }
        let stats = observe::stats_of_all(playground, &world).await;
        if self.args.json {
            output::line(&report::json(&rows, &stats));
        } else {
            output::line(&report::calls(&rows));
            if !stats.is_empty() {
                output::line(&report::stats(&stats));
            }
        }
        let failed = rows.iter().filter(|row| !row.faults.is_empty()).count();
        output::error(&report::verdict(&rows, self.began.elapsed()));
        if self.args.once {
            return Ok(if failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        let weir = std::env::args().next().unwrap_or_else(|| "weir".to_owned());
        let dir = playground.shared().dir();
        output::error(&report::commands(&weir, &world, &rows, dir));
        if stderr().is_terminal() {
            output::error("Ctrl-C ends the demo and removes everything.");
        }
        std::future::pending().await
    }

    /// Brings everything up and waits until it can be called.
    async fn build(&self, playground: &Playground) -> anyhow::Result<Vec<PodKey>> {
        let shared = playground.shared();
        for skipped in &self.manifests.skipped {
            shared.say(&format!("left out: {skipped}"));
        }
        let control = if self.args.without_mesh {
            None
        } else {
            shared.say("starting the control plane");
            Some(playground.start_control_plane().await?)
        };
        shared.cluster().apply(&self.manifests)?;
        shared.publish()?;
        if let Some(control) = &control {
            playground.wait_told(control).await?;
        }
        if self.args.manifests.is_none() {
            let (name, address) = world::OUTSIDE;
            playground
                .start_outside(name, address, &OUTSIDE_ARGS)
                .await?;
        }
        let keys = playground
            .start(
                &self.manifests.workloads,
                control.as_ref().map(|control| &control.webhook),
            )
            .await?;
        let world = World::of(playground, &keys);
        let meshed = world.pods.iter().filter(|pod| pod.meshed).count();
        shared.say(&format!(
            "started {} pods, {meshed} of them with a sidecar",
            keys.len()
        ));
        playground.wait_ready(&keys, READY_LIMIT).await?;
        if let Some(control) = &control {
            playground.wait_known(control).await?;
        }
        Ok(keys)
    }
}
