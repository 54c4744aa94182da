//! Runs scenarios: each proxy in turn, round after round.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    args::Args,
    backend::Backend,
    load,
    peer::{Kind, Peer},
    pods::{Pods, SERVER},
    process::Memory,
    scenario::{Load, Scenario},
};

/// What one turn of one proxy gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// None without a proxy.
    pub(crate) proxy: Option<ProxySample>,
    pub(crate) work: load::Work,
    /// Connections open while `loaded` was taken, where that is what is measured.
    pub(crate) open: usize,
}

/// What the proxy used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProxySample {
    pub(crate) cpu: Duration,
    pub(crate) idle: Memory,
    pub(crate) loaded: Memory,
    pub(crate) ready: Duration,
}

/// Work, and connections that are still open.
type Loaded = (load::Work, Vec<TcpStream>);

/// One proxy's turns in one scenario, or why there is no figure.
pub(crate) type Turns = Result<Vec<Sample>, String>;

/// The pods, and what is needed to run scenarios in them.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    args: &'a Args,
    peers: Vec<Peer>,
    _backend: Backend,
    pods: Pods,
    directory: TempDir,
}

// === impl Bench ===

impl<'a> Bench<'a> {
    pub(crate) fn new(args: &'a Args, peers: &[Peer]) -> Result<Self> {
        let directory = tempfile::tempdir().context("temporary directory")?;
        // The proxies read their configuration as another user.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), all).context("temporary directory")?;
        let peers = peers.iter().map(|peer| peer.install(directory.path()));
        let peers: Vec<Peer> = peers.collect::<Result<_>>()?;
        let pods = Pods::new(&args.weir).context("pods")?;
        let backend = Backend::start(&pods, directory.path())?;
        Ok(Self {
            args,
            peers,
            _backend: backend,
            pods,
            directory,
        })
    }

    /// The turns of each peer, in their order.
    pub(crate) fn run(&mut self, scenario: &Scenario) -> Vec<Turns> {
        let mut all: Vec<Turns> = self.peers.iter().map(|_| Ok(Vec::new())).collect();
        for round in 1..=self.args.rounds {
            for (peer, turns) in self.peers.iter().zip(&mut all) {
                let Ok(samples) = turns else {
                    continue;
                };
                match self.turn(peer, scenario) {
                    Ok(sample) => samples.push(sample),
                    Err(error) => *turns = Err(format!("round {round}: {error:#}")),
                }
            }
        }
        all
    }

    fn turn(&self, peer: &Peer, scenario: &Scenario) -> Result<Sample> {
        let duration = Duration::from_secs(self.args.seconds.into());
        let protocol = scenario.protocol();
        self.pods.forget_connections()?;
        if peer.kind == Kind::Direct {
            let (work, open) = self.load(scenario, protocol.direct_port(), duration)?;
            let (proxy, open) = (None, open.len());
            return Ok(Sample { proxy, work, open });
        }
        let said = |error: anyhow::Error| match peer.last_words(self.directory.path()) {
            words if words.is_empty() => error,
            words => error.context(format!("it said {words:?}")),
        };
        self.through(peer, scenario, duration).map_err(said)
    }

    fn through(&self, peer: &Peer, scenario: &Scenario, duration: Duration) -> Result<Sample> {
        let protocol = scenario.protocol();
        let load = |port: u16, duration| self.load(scenario, port, duration);
        let mut running = peer.start(&self.pods, protocol, self.directory.path())?;
        let idle = running.process.memory()?;
        if scenario.load != Load::Idle {
            // The first touches of code and memory are not the price of a request.
            load(protocol.port(), Duration::from_secs(1)).context("warm-up")?;
        }
        let before = running.process.cpu()?;
        let (work, open) = load(protocol.port(), duration)?;
        ensure!(running.process.is_alive(), "the proxy has ended");
        let proxy = ProxySample {
            cpu: running.process.cpu()?.saturating_sub(before),
            idle,
            loaded: running.process.memory()?,
            ready: running.ready,
        };
        ensure!(work.units > 0.0, "no work was done");
        Ok(Sample {
            proxy: Some(proxy),
            work,
            open: open.len(),
        })
    }

    fn load(&self, scenario: &Scenario, port: u16, duration: Duration) -> Result<Loaded> {
        let address = SocketAddr::new(SERVER.parse()?, port);
        self.pods
            .as_client(|| load::run(scenario.load, address, duration))
    }
}
