//! `weir-agent capture`: what the init container runs.

mod args;

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use weir_api::{CaptureSpec, capture::CaptureMode};
use weir_iptables::{
    ApplyError, Family, HostNetwork, Options, RuleSet, apply, cleanup, rules::SpecError,
};

use crate::failure::Failure;

pub(crate) use args::Args;

/// Makes, prints or removes the rules.
pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    if args.cleanup {
        let cleaned = cleanup().map_err(failure)?;
        return print(&cleaned.to_string());
    }
    let spec = args
        .resolve()
        .map_err(|error| Failure::Usage(anyhow!(error)))?;
    if spec.mode == CaptureMode::None {
        return print("capture mode none: nothing is captured and nothing was changed\n");
    }
    if args.dry_run {
        return print(&dry_run(&spec).map_err(|error| Failure::Usage(error.into()))?);
    }
    let host_network = match args.allow_host_network {
        true => HostNetwork::Allow,
        false => HostNetwork::Refuse,
    };
    let options = Options {
        host_network,
        ..Options::default()
    };
    let report = apply(&spec, &options).map_err(failure)?;
    let summary = if report.unchanged() {
        "the rules were in force already; no change\n"
    } else {
        ""
    };
    print(&format!("{report}{summary}"))
}

/// What is fed to the commands where nothing of ours is in force, both families.
fn dry_run(spec: &CaptureSpec) -> Result<String, SpecError> {
    let texts = Family::ALL.into_iter().map(|family| {
        let rules = RuleSet::new(spec, family)?;
        Ok(format!("# {}-restore --noflush\n{rules}", family.command()))
    });
    texts.collect()
}

fn failure(error: ApplyError) -> Failure {
    match error.is_configuration() {
        true => Failure::Usage(error.into()),
        false => Failure::Runtime(error.into()),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?)
}
