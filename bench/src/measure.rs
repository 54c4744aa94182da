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
    load::Latency,
    peer::{Identities, Kind, Peer, Running},
    pods::{Pods, SERVER, Side},
    process::{self, Memory},
    scenario::{Load, Scenario},
    speed::Speed,
};

/// How often a proxy is started in one turn of the scenario that is about that.
const STARTS: u32 = 10;

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
    /// Of all sidecars in the path.
    pub(crate) cpu: Duration,
    /// Of the client's.
    pub(crate) idle: Memory,
    pub(crate) loaded: Memory,
    /// What was added in that which grew most.
    pub(crate) grown: Memory,
    pub(crate) listens: Duration,
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
    identities: Identities,
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
        let identities = Identities::new(directory.path())?;
        Ok(Self {
            args,
            peers,
            _backend: backend,
            pods,
            identities,
            directory,
        })
    }

    /// What cryptography costs by itself, where scenarios that are asked for are held against it.
    pub(crate) fn speed(&self) -> Result<Option<Speed>> {
        let mut scenarios = self.args.scenarios();
        let wanted = scenarios.any(|scenario| scenario.floor().is_some());
        wanted.then(|| Speed::measure(&self.pods)).transpose()
    }

    /// The turns of each peer, in their order. None of those that have no part in it.
    pub(crate) fn run(&mut self, scenario: &Scenario) -> Vec<Turns> {
        let mut all: Vec<Turns> = self.peers.iter().map(|_| Ok(Vec::new())).collect();
        for round in 1..=self.args.rounds {
            for (peer, turns) in self.peers.iter().zip(&mut all) {
                let Ok(samples) = turns else {
                    continue;
                };
                if peer.kind == Kind::Direct && scenario.load == Load::Start {
                    continue;
                }
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
        let sample = match scenario.load {
            Load::Start => self.starts(peer, scenario),
            _ => self.through(peer, scenario, duration),
        };
        sample.map_err(said)
    }

    /// Starts it over and over.
    fn starts(&self, peer: &Peer, scenario: &Scenario) -> Result<Sample> {
        let (mut cpu, mut all, mut last) = (Duration::ZERO, Vec::new(), None);
        for _ in 0..STARTS {
            let before = process::cpu_of_ended()?;
            let mut running = self.start(peer, Side::Outbound, scenario)?;
            all.push(running.until_ready(&self.pods, peer.kind)?);
            last = Some((running.process.memory()?, running.listens));
            // Its threads that have ended count as well.
            drop(running);
            cpu += process::cpu_of_ended()?.saturating_sub(before);
        }
        let (memory, listens) = last.context("no start")?;
        Ok(Sample {
            proxy: Some(ProxySample {
                cpu,
                idle: memory,
                loaded: memory,
                grown: Memory(0),
                listens,
            }),
            work: load::Work {
                units: STARTS.into(),
                elapsed: all.iter().sum(),
                latency: Latency::of(all),
            },
            open: 0,
        })
    }

    fn start(&self, peer: &Peer, side: Side, scenario: &Scenario) -> Result<Running> {
        peer.start(
            &self.pods,
            side,
            scenario,
            self.directory.path(),
            &self.identities,
        )
    }

    fn through(&self, peer: &Peer, scenario: &Scenario, duration: Duration) -> Result<Sample> {
        let load = |duration| self.load(scenario, scenario.port(), duration);
        let mut sidecars = vec![self.start(peer, Side::Outbound, scenario)?];
        let listens = sidecars[0].listens;
        if scenario.sidecars.are_both() {
            sidecars.push(self.start(peer, Side::Inbound, scenario)?);
        }
        let memory = |sidecars: &[Running]| -> Result<Vec<Memory>> {
            sidecars.iter().map(|one| one.process.memory()).collect()
        };
        let idle = memory(&sidecars)?;
        if !scenario.load.is_idle() {
            // The first touches of code and memory are not the price of a request.
            load(Duration::from_secs(1)).context("warm-up")?;
        }
        let cpu = |sidecars: &[Running]| -> Result<Duration> {
            sidecars.iter().map(|one| one.process.cpu()).sum()
        };
        let before = cpu(&sidecars)?;
        let (work, open) = load(duration)?;
        let all_live = sidecars.iter_mut().all(|one| one.process.is_alive());
        ensure!(all_live, "the proxy has ended");
        let cpu = cpu(&sidecars)?.saturating_sub(before);
        let loaded = memory(&sidecars)?;
        peer.check_handshakes(&self.pods, scenario)?;
        let grown = idle.iter().zip(&loaded);
        let grown = grown.map(|(idle, loaded)| loaded.0.saturating_sub(idle.0));
        let proxy = ProxySample {
            cpu,
            idle: idle[0],
            loaded: loaded[0],
            grown: Memory(grown.max().unwrap_or_default()),
            listens,
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
