//! A service of fifty endpoints of which ten refuse connections, ten never answer and ten answer 503,
//! under load, through `weir-agent proxy` and real Envoy: what clients see with and without retries and
//! outlier detection. `make outage` prints the table that docs/traffic.md has; `cargo test` alone does not run it.

mod clients;
mod endpoints;
mod settings;

use std::{
    env, fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use clients::Seen;
use settings::{SETTINGS, Setting};
use tempfile::TempDir;
use weir_tests::{envoy::Envoy, ports, running::Running};

/// How much more often than through Envoy requests may fail, in shares of all: what is left to chance.
const LEEWAY: f64 = 0.02;
/// Far longer than a proxy takes to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy with a listener for each setting; killed when dropped.
struct Proxy {
    listeners: Vec<SocketAddr>,
    #[expect(dead_code, reason = "held")]
    running: Program,
}

enum Program {
    Envoy(#[expect(dead_code, reason = "held")] Envoy),
    Weir(
        #[expect(dead_code, reason = "held")] Running,
        #[expect(dead_code, reason = "held")] TempDir,
    ),
}

// === impl Proxy ===

impl Proxy {
    fn envoy(endpoints: u16) -> Self {
        let (bootstrap, listeners) = settings::bootstrap(endpoints);
        let envoy = Envoy::start(&bootstrap).expect("envoy starts");
        Self::ready(listeners, Program::Envoy(envoy))
    }

    fn weir(endpoints: u16) -> Self {
        let (bootstrap, listeners) = settings::bootstrap(endpoints);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("bootstrap.yaml");
        fs::write(&file, bootstrap).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-agent"));
        command.args(["proxy", "--concurrency", "1", "--log", "warn", "--config"]);
        command.arg(&file).stdout(Stdio::null());
        let running = Running::start(&mut command).expect("the proxy starts");
        Self::ready(listeners, Program::Weir(running, directory))
    }

    fn ready(listeners: Vec<SocketAddr>, running: Program) -> Self {
        for listener in &listeners {
            ports::until_open(*listener, PATIENCE).expect("it listens");
        }
        Self { listeners, running }
    }
}

#[expect(clippy::print_stderr, reason = "a person waits for it")]
#[test]
#[ignore = "takes minutes; `make outage` runs it"]
fn a_service_of_which_most_is_broken_fails_no_more_often_than_through_envoy() {
    let seconds = env::var("OUTAGE_SECONDS").map_or(60, |text| text.parse().expect("a number"));
    let endpoints = endpoints::start();
    let proxies = [Proxy::weir(endpoints), Proxy::envoy(endpoints)];
    let listeners = proxies.iter().flat_map(|proxy| &proxy.listeners);
    let listeners: Vec<_> = listeners.copied().collect();
    let seen = clients::run(&listeners, Duration::from_secs(seconds));
    let (ours, envoys) = seen.split_at(SETTINGS.len());
    eprintln!("| | | {} |\n|-|-|-|-|-|-|-|", Seen::HEADINGS);
    for ((Setting { name, .. }, ours), envoys) in SETTINGS.iter().zip(ours).zip(envoys) {
        eprintln!("| {name} | Weir | {ours} |\n| | Envoy | {envoys} |");
    }
    for ((setting, ours), envoys) in SETTINGS.iter().zip(ours).zip(envoys) {
        assert!(ours.all() > 0 && envoys.all() > 0);
        let (failing, envoys) = (ours.failing(), envoys.failing());
        assert!(
            failing <= envoys + LEEWAY,
            "{}: {failing}, Envoy: {envoys}",
            setting.name
        );
    }
}
