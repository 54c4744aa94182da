//! The proxies that are compared: found, configured alike, started.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use weir_process::command::{LIMIT, execute};
use weir_tests::http;

use crate::{
    args::Args,
    load::{self, until_connected},
    pods::{self, Pods, Side},
    process::Process,
    scenario::Scenario,
};

mod config;
mod find;
mod handshakes;
mod haproxy;
mod identity;
mod tls;

use handshakes::Handshakes;
pub(crate) use identity::Identities;

/// The sidecar's user and group, whose connections the rules let past.
const SIDECAR: u32 = 1337;
/// Port of the admin interface of Envoy and Weir.
const ADMIN: u16 = 15000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy: past the rules. What the others add is added to this.
    Direct,
    Envoy,
    Haproxy,
    Weir,
}

/// A way from the client to the server.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) label: String,
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

/// A proxy that listens. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    /// When it was executed.
    began: Instant,
    /// From exec until a connection was accepted.
    pub(crate) listens: Duration,
}

/// Those that `args` ask for, or all that is missing and how to get it.
pub(crate) fn find(args: &Args) -> Result<Vec<Peer>> {
    let wanted = |name: &str| !args.without.iter().any(|without| without == name);
    let mut missing = find::tools();
    let mut peers = Vec::new();
    if wanted("direct") {
        peers.push(Peer::new(Kind::Direct, "direct", PathBuf::new())?);
    }
    let mut add = |kind, label: &str, program: Result<PathBuf, String>| -> Result<()> {
        match program {
            Ok(program) => peers.push(Peer::new(kind, label, program)?),
            Err(what) => missing.push(what),
        }
        Ok(())
    };
    if wanted("envoy") {
        add(Kind::Envoy, "Envoy", find::envoy(args.envoy.as_deref()))?;
    }
    if wanted("haproxy") {
        add(
            Kind::Haproxy,
            "HAProxy",
            find::haproxy(args.haproxy.as_deref()),
        )?;
    }
    add(Kind::Weir, "Weir", find::weir(&args.weir))?;
    for (label, path) in &args.others {
        add(Kind::Weir, label, find::weir(path))?;
    }
    if !missing.is_empty() {
        bail!("missing:\n  {}", missing.join("\n  "));
    }
    Ok(peers)
}

// === impl Running ===

impl Running {
    /// From exec until it says that it is ready; for HAProxy, which says nothing, until it listens.
    pub(crate) fn until_ready(&mut self, pods: &Pods, kind: Kind) -> Result<Duration> {
        if kind == Kind::Haproxy {
            return Ok(self.listens);
        }
        let ask = || load::until_ready(("127.0.0.1", ADMIN), || self.process.is_alive());
        pods.as_proxy(Side::Outbound, ask)?;
        Ok(self.began.elapsed())
    }
}

// === impl Peer ===

impl Peer {
    fn new(kind: Kind, label: &str, program: PathBuf) -> Result<Self> {
        let version = match kind {
            Kind::Direct => String::new(),
            Kind::Envoy | Kind::Weir => version(&program, "--version")?,
            Kind::Haproxy => version(&program, "-v")?,
        };
        Ok(Self {
            kind,
            label: label.to_owned(),
            program,
            version,
        })
    }

    /// A copy of the program where the sidecar's user can execute it, which a package within
    /// root's home directory is not.
    pub(crate) fn install(&self, directory: &Path) -> Result<Self> {
        let mut installed = self.clone();
        if self.kind != Kind::Direct {
            installed.program = directory.join(&self.label);
            let copied = fs::copy(&self.program, &installed.program);
            copied.with_context(|| format!("copy of {}", self.program.display()))?;
        }
        Ok(installed)
    }

    /// Starts it as the sidecar of a pod, and waits until it listens.
    pub(crate) fn start(
        &self,
        pods: &Pods,
        side: Side,
        scenario: &Scenario,
        directory: &Path,
        identities: &Identities,
    ) -> Result<Running> {
        let config = directory.join(format!("{}-{side:?}.conf", self.label));
        let log = self.log(side, directory);
        let mut command = Command::new(&self.program);
        let text = match self.kind {
            Kind::Direct => bail!("there is no process without a proxy"),
            Kind::Envoy => {
                command.arg("--config-path").arg(&config);
                // The hot restarter's shared memory would be one more thing to clean up.
                command.args(["--concurrency", "1", "--disable-hot-restart"]);
                command.args(["--log-level", "warning"]);
                config::bootstrap(side, scenario.sidecars, identities)
            }
            Kind::Weir => {
                command.arg("proxy").arg("--config").arg(&config);
                command.args(["--concurrency", "1", "--log", "warn"]);
                config::bootstrap(side, scenario.sidecars, identities)
            }
            Kind::Haproxy => {
                // In the foreground, one process, so that its id is the proxy's.
                command.arg("-db").arg("-f").arg(&config);
                let connections = pods::connections()?;
                haproxy::config(side, scenario, connections, directory)
            }
        };
        fs::write(&config, text).context("configuration")?;
        let output = fs::File::create(&log).context("log")?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        command.uid(SIDECAR).gid(SIDECAR);
        pods.as_proxy(side, || {
            let child = command.spawn().with_context(|| format!("{command:?}"))?;
            let (mut process, began) = (Process::new(child), Instant::now());
            let listens = until_connected("127.0.0.1", side.port(), || process.is_alive())?;
            Ok(Running {
                process,
                began,
                listens,
            })
        })
    }

    /// Whether the server's sidecar, which runs, has seen the handshakes that the scenario is about.
    /// HAProxy counts none by kind.
    pub(crate) fn check_handshakes(&self, pods: &Pods, scenario: &Scenario) -> Result<()> {
        if self.kind == Kind::Haproxy || scenario.sessions().is_none() {
            return Ok(());
        }
        let stats = pods.as_proxy(Side::Inbound, || {
            let admin = (Ipv4Addr::LOCALHOST, ADMIN).into();
            Ok(http::get(admin, &Handshakes::path())?)
        });
        let stats = stats.context("stats of handshakes")?;
        Handshakes::parse(&stats.body)?.check(scenario)
    }

    /// The end of what it printed since it was started.
    pub(crate) fn last_words(&self, directory: &Path) -> String {
        let logs = [Side::Outbound, Side::Inbound].map(|side| {
            let log = fs::read_to_string(self.log(side, directory)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(5)..].join("\n")
        });
        logs.join("\n").trim().to_owned()
    }

    fn log(&self, side: Side, directory: &Path) -> PathBuf {
        directory.join(format!("{}-{side:?}.log", self.label))
    }
}

fn version(program: &Path, flag: &str) -> Result<String> {
    let text = execute(Command::new(program).arg(flag), "", LIMIT)?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    // Envoy says where it lies first.
    let version = line.split_once("version: ");
    Ok(version.map_or(line, |(_, version)| version).to_owned())
}
