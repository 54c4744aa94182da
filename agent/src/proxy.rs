//! `weir-agent proxy`: the data plane alone, from a bootstrap file, as any user.

use std::{
    fs,
    io::{self, Write},
    num::NonZeroUsize,
    path::PathBuf,
};

use anyhow::{Context, anyhow};
use weir_api::xds::{codec, envoy::config::bootstrap::v3 as proto, json};
use weir_proxy::{
    config::Bootstrap,
    convert,
    server::{Options, Server},
};

use crate::{concurrency, failure::Failure, logging::Logging, memory, open_files, shutdown};

/// Runs the data plane with an Envoy bootstrap.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bootstrap, YAML or JSON, as `envoy --config-path` takes it.
    #[arg(short, long, value_name = "FILE", env = "WEIR_CONFIG")]
    config: PathBuf,
    /// Worker threads; by default what the cgroup's CPU limit allows, else one.
    #[arg(long, value_name = "N", env = weir_api::sidecar::env::CONCURRENCY)]
    concurrency: Option<NonZeroUsize>,
    /// Check the configuration and exit.
    #[arg(long)]
    validate: bool,
}

pub(crate) fn main(args: &Args, logging: Logging) -> Result<(), Failure> {
    let (source, bootstrap) = read(args)?;
    if args.validate {
        let line = format!("configuration '{}' OK\n", args.config.display());
        let written = io::stdout().write_all(line.as_bytes());
        return written.context("standard output").map_err(Failure::Runtime);
    }
    open_files::raise();
    let mut options = Options::new(source);
    options.concurrency = args.concurrency.unwrap_or_else(concurrency::from_cgroup);
    options.config_path = args.config.display().to_string();
    options.log_filter = Some(logging.filter());
    options.trim_heap = Some(weir_sys::trim_heap);
    serve(&bootstrap, options)
}

/// The message in the file, and what it means.
fn read(args: &Args) -> Result<(proto::Bootstrap, Bootstrap), Failure> {
    let path = args.config.display();
    let text = fs::read_to_string(&args.config);
    let text = text
        .with_context(|| format!("configuration {path}"))
        .map_err(Failure::Usage)?;
    let source = json::read_bootstrap(&text)
        .map_err(|error| Failure::Usage(anyhow!("configuration {path}: {error}")))?;
    let bootstrap = convert::bootstrap(codec::copy_bootstrap(&source)).map_err(|errors| {
        let problems = errors
            .problems
            .iter()
            .map(|problem| format!("\n  {problem}"));
        Failure::Usage(anyhow!(
            "configuration {path}:{}",
            problems.collect::<String>()
        ))
    })?;
    Ok((source, bootstrap))
}

fn serve(bootstrap: &Bootstrap, options: Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("control thread")?;
    let server = Server::start(bootstrap, options).map_err(anyhow::Error::from)?;
    tracing::info!(admin = ?server.admin_address(), "serving");
    runtime
        .block_on(async {
            let signals = shutdown::Signals::new()?;
            tokio::spawn(memory::give_back(server.handle()));
            server.run(signals.first()).await
        })
        .context("data plane")?;
    Ok(())
}
