//! The two proxies, each with one worker and ports of its own.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir_tests::skip::{Need, skip};

/// What is filled into a bootstrap.
pub(crate) struct Ports {
    pub(crate) listener: u16,
    pub(crate) strict: u16,
    pub(crate) edge: u16,
    pub(crate) admin: u16,
    pub(crate) echo: u16,
    pub(crate) refused: u16,
}

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    pub(crate) listener: u16,
    pub(crate) strict: u16,
    pub(crate) edge: u16,
    pub(crate) admin: u16,
    child: Child,
    _directory: TempDir,
}

/// Whether `envoy` can be run. Without it the test is skipped, visibly, or fails where peers are
/// required.
pub(crate) fn envoy_is_here() -> bool {
    let here = Command::new("envoy")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !here {
        skip(
            Need::Peers,
            "envoy is not on the PATH; `make setup` installs it",
        );
    }
    here
}

/// A port nobody listens on at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Proxy {
    pub(crate) fn envoy(bootstrap: &str, ports: &Ports) -> Self {
        Self::start(bootstrap, ports, |file| {
            let mut command = Command::new("envoy");
            // One machine, several tests: shared memory regions must not collide.
            command.args([
                "--disable-hot-restart",
                "--concurrency",
                "1",
                "-l",
                "off",
                "-c",
            ]);
            command.arg(file);
            command
        })
    }

    pub(crate) fn weir(bootstrap: &str, ports: &Ports) -> Self {
        Self::start(bootstrap, ports, |file| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir-agent"));
            command
                .args(["proxy", "--concurrency", "1", "--config"])
                .arg(file);
            command
        })
    }

    /// Where a case goes to.
    pub(crate) fn port(&self, strict: bool, edge: bool) -> u16 {
        match (strict, edge) {
            (true, _) => self.strict,
            (_, true) => self.edge,
            (false, false) => self.listener,
        }
    }

    fn start(bootstrap: &str, ports: &Ports, command: impl FnOnce(PathBuf) -> Command) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("bootstrap.yaml");
        let mut text = bootstrap.to_owned();
        for (name, port) in [
            ("@LISTENER@", ports.listener),
            ("@STRICT@", ports.strict),
            ("@EDGE@", ports.edge),
            ("@ADMIN@", ports.admin),
            ("@ECHO@", ports.echo),
            ("@REFUSED@", ports.refused),
        ] {
            text = text.replace(name, &port.to_string());
        }
        std::fs::write(&file, text).expect("the bootstrap is written");
        let child = command(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let proxy = Self {
            listener: ports.listener,
            strict: ports.strict,
            edge: ports.edge,
            admin: ports.admin,
            child: child.expect("the proxy starts"),
            _directory: directory,
        };
        proxy.wait_until_listening(bootstrap);
        proxy
    }

    /// Waits for every port that the bootstrap names.
    fn wait_until_listening(&self, bootstrap: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let strict = bootstrap.contains("@STRICT@").then_some(self.strict);
        let edge = bootstrap.contains("@EDGE@").then_some(self.edge);
        let others = strict.into_iter().chain(edge);
        for port in [self.listener, self.admin].into_iter().chain(others) {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                assert!(Instant::now() < deadline, "the proxy does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
