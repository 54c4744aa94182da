//! A client pod and a server pod: two network namespaces on a veth pair. The client's connections
//! are captured by the rules that `weir-agent capture` writes.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit};
use weir_tests::netns::NetNs;

use crate::{process::pin, scenario::Protocol};

/// Address of the server pod.
pub(crate) const SERVER: &str = "10.77.0.2";
/// Port that the client's connections are redirected to.
pub(crate) const OUTBOUND: u16 = 15001;

/// Kernel settings of each pod.
const SETTINGS: [(&str, &str); 4] = [
    // Else a client's own port may be one that the rules treat as the sidecar's.
    ("ipv4/ip_local_reserved_ports", "15000-15100"),
    // A scenario that connects for each unit would run out of ports in TIME_WAIT.
    ("ipv4/ip_local_port_range", "1024 65535"),
    ("ipv4/tcp_tw_reuse", "1"),
    ("core/somaxconn", "4096"),
];

/// Where things run: the proxy alone on one core, all else on the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) proxy: usize,
    pub(crate) others: usize,
}

#[derive(Debug)]
pub(crate) struct Pods {
    client: NetNs,
    server: NetNs,
    pub(crate) cores: Cores,
}

// === impl Pods ===

impl Pods {
    pub(crate) fn new(agent: &Path) -> Result<Self> {
        let cores = Cores {
            proxy: 0,
            others: 1,
        };
        let (client, server) = (NetNs::new()?, NetNs::new()?);
        client.link(
            "eth0",
            &["10.77.0.1/24"],
            &server,
            &[&format!("{SERVER}/24")],
        )?;
        for pod in [&client, &server] {
            pod.run(|| -> Result<()> {
                for (name, value) in SETTINGS {
                    let path = Path::new("/proc/sys/net").join(name);
                    fs::write(&path, value).with_context(|| path.display().to_string())?;
                }
                Ok(())
            })?;
        }
        let pods = Self {
            client,
            server,
            cores,
        };
        pods.capture(agent)?;
        Ok(pods)
    }

    /// Runs `body` in the client pod, on the core of the proxy.
    pub(crate) fn as_proxy<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(&self.client, self.cores.proxy, body)
    }

    /// Runs `body` in the client pod, on the core of the load.
    pub(crate) fn as_client<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(&self.client, self.cores.others, body)
    }

    /// Runs `body` in the server pod, on the core of the load.
    pub(crate) fn as_server<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(&self.server, self.cores.others, body)
    }

    /// Forgets all connections: one whose port is used again would go the way of the old one.
    pub(crate) fn forget_connections(&self) -> Result<()> {
        self.as_client(|| run(Command::new("conntrack").arg("-F")).map(drop))
    }

    fn capture(&self, agent: &Path) -> Result<()> {
        let direct = Protocol::ALL.map(|p| p.direct_port().to_string());
        self.as_client(|| {
            let mut command = Command::new(agent);
            command.args(["capture", "--exclude-outbound-ports", &direct.join(",")]);
            run(&mut command).map(drop)
        })
    }
}

/// Connections a proxy can forward, which takes two descriptors each, with some to spare.
pub(crate) fn connections() -> Result<u64> {
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok((allowed / 2).saturating_sub(200).min(30_000))
}

fn inside<T: Send>(pod: &NetNs, core: usize, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    pod.run(|| {
        pin(core)?;
        body()
    })
}

/// Runs a command to its end; its standard output, or an error that holds all it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{command:?} cannot be started"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}\n{text}{errors}", output.status);
    }
    Ok(text)
}
