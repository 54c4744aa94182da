//! The two proxies, each with one worker and ports of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use weir_tests::{envoy::Envoy, ports, running::Running};

/// Far longer than a proxy takes to listen.
const PATIENCE: Duration = Duration::from_secs(60);

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
    ports: Ports,
    program: Program,
}

enum Program {
    Envoy(Envoy),
    Weir(
        Running,
        #[expect(dead_code, reason = "kept for its end")] TempDir,
    ),
}

/// A port nobody listens on at the moment.
pub(crate) fn free_port() -> u16 {
    ports::free().port()
}

// === impl Ports ===

impl Ports {
    /// Ports of listeners and of the admin interface.
    pub(crate) fn free() -> Self {
        Self {
            listener: free_port(),
            strict: free_port(),
            edge: free_port(),
            admin: free_port(),
            echo: 0,
            refused: 0,
        }
    }

    fn fill(&self, bootstrap: &str) -> String {
        let ports = [
            ("@LISTENER@", self.listener),
            ("@STRICT@", self.strict),
            ("@EDGE@", self.edge),
            ("@ADMIN@", self.admin),
            ("@ECHO@", self.echo),
            ("@REFUSED@", self.refused),
        ];
        ports
            .iter()
            .fold(bootstrap.to_owned(), |text, (name, port)| {
                text.replace(name, &port.to_string())
            })
    }
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn envoy(bootstrap: &str, ports: Ports) -> Self {
        let envoy = Envoy::start(&ports.fill(bootstrap)).expect("envoy starts");
        Self::listening(bootstrap, ports, Program::Envoy(envoy))
    }

    pub(crate) fn weir(bootstrap: &str, ports: Ports) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("bootstrap.yaml");
        std::fs::write(&file, ports.fill(bootstrap)).expect("the bootstrap is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-agent"));
        command.args(["proxy", "--concurrency", "1", "--config"]);
        command
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let weir = Running::start(&mut command).expect("weir-agent starts");
        Self::listening(bootstrap, ports, Program::Weir(weir, directory))
    }

    /// Where a case goes to.
    pub(crate) fn port(&self, strict: bool, edge: bool) -> u16 {
        match (strict, edge) {
            (true, _) => self.ports.strict,
            (_, true) => self.ports.edge,
            (false, false) => self.ports.listener,
        }
    }

    /// Its admin interface.
    pub(crate) fn admin(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.admin).into()
    }

    /// A size of its memory in KiB, as /proc/PID/status calls it.
    #[allow(dead_code, reason = "attacks ask for it")]
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let memory = match &self.program {
            Program::Envoy(envoy) => envoy.memory(name),
            Program::Weir(weir, _) => weir.memory(name),
        };
        memory.expect("it runs")
    }

    /// Waits for every port that the bootstrap names.
    fn listening(bootstrap: &str, ports: Ports, program: Program) -> Self {
        for (name, port) in [
            ("@LISTENER@", ports.listener),
            ("@STRICT@", ports.strict),
            ("@EDGE@", ports.edge),
            ("@ADMIN@", ports.admin),
        ] {
            if bootstrap.contains(name) {
                let address = (Ipv4Addr::LOCALHOST, port).into();
                ports::until_open(address, PATIENCE).expect("the proxy listens");
            }
        }
        Self { ports, program }
    }
}
