//! The command line.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{call, check, demo, echo, graph, inject, pods, policy, proxy_config, proxy_status};

/// A service mesh, on this machine and in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Directory where running demos are written down
    #[arg(long, global = true, hide = true, env = "WEIR_RUN_ROOT", value_name = "DIR",
          default_value = weir_playground::run::ROOT)]
    pub(crate) run_root: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up a small mesh on this machine, make calls through it and show what happened
    Demo(demo::DemoArgs),
    /// Run a program in a pod of the running demo
    Exec(pods::ExecArgs),
    /// Print what a container of the running demo printed
    Logs(pods::LogsArgs),
    /// Print a pod's statistics, read from its sidecar's admin port
    Stats(pods::StatsArgs),
    /// Add sidecars to the pods and workloads of files, as the webhook does, and print the result
    Inject(inject::InjectArgs),
    /// Take the sidecars out of files again, and print the result
    Uninject(inject::UninjectArgs),
    /// Say whether a cluster is fit for Weir, and whether an installed Weir works
    Check(check::CheckArgs),
    /// Show the configuration of a proxy, or write one
    ProxyConfig(proxy_config::ProxyConfigArgs),
    /// Show every connected proxy, and whether it took what it was sent
    ProxyStatus(proxy_status::ProxyStatusArgs),
    /// Show who calls whom, and how well
    Graph(graph::GraphArgs),
    /// Say what AuthorizationPolicies would do to the traffic of the last hour
    Policy(policy::PolicyArgs),
    /// Run the echo application: it answers every protocol and says who called and how
    Echo(echo::EchoArgs),
    /// Make one call and print what happened as JSON
    #[command(hide = true)]
    Call(call::CallArgs),
    /// Turn this process into a container of a playground
    #[command(hide = true)]
    PlaygroundExec {
        /// File of a container's spec, or a request to join a container as JSON
        what: String,
    },
}

// === impl Command ===

impl Command {
    pub(crate) fn run(self, run_root: &Path) -> anyhow::Result<ExitCode> {
        match self {
            Self::Demo(args) => demo::run(args, run_root),
            Self::Exec(args) => pods::exec(&args, run_root),
            Self::Logs(args) => pods::logs(&args, run_root),
            Self::Stats(args) => pods::stats(&args, run_root),
            Self::Inject(args) => Ok(inject::inject(&args)),
            Self::Uninject(args) => Ok(inject::uninject(&args)),
            Self::Check(args) => check::run(&args),
            Self::ProxyConfig(args) => proxy_config::run(&args, run_root),
            Self::ProxyStatus(args) => proxy_status::run(&args, run_root),
            Self::Graph(args) => graph::run(&args, run_root),
            Self::Policy(args) => policy::run(&args, run_root),
            Self::Echo(args) => echo::run(args),
            Self::Call(args) => call::run(&args),
            Self::PlaygroundExec { what } => playground_exec(&what),
        }
    }
}

/// Runs before any thread is started: only a process with one thread can enter a mount namespace.
fn playground_exec(what: &str) -> anyhow::Result<ExitCode> {
    use weir_playground::{container, run::ExecRequest};
    let never = if what.starts_with('{') {
        let ExecRequest { joinable, argv } = serde_json::from_str(what)?;
        container::join_container(&joinable, &argv)?
    } else {
        let text = std::fs::read_to_string(PathBuf::from(what))?;
        container::become_container(&serde_json::from_str(&text)?)?
    };
    match never {}
}
