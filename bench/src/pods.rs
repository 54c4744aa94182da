//! A client pod and a server pod: two network namespaces on a veth pair. The client's connections
//! are captured by the rules that `weir-agent capture` writes, and those to some ports of the server
//! are captured there, too.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit};
use weir_process::command::{LIMIT, execute};
use weir_tests::netns::NetNs;

use crate::{
    process::pin,
    scenario::{Protocol, Sidecars},
};

/// Address of the server pod.
pub(crate) const SERVER: &str = "10.77.0.2";
/// Port that the client's connections are redirected to.
pub(crate) const OUTBOUND: u16 = 15001;
/// Port that the connections to the server are redirected to.
pub(crate) const INBOUND: u16 = 15006;

/// Kernel settings of each pod.
const SETTINGS: [(&str, &str); 4] = [
    // Else a client's own port may be one that the rules treat as the sidecar's.
    ("ipv4/ip_local_reserved_ports", "15000-15100"),
    // A scenario that connects for each unit would run out of ports in TIME_WAIT.
    ("ipv4/ip_local_port_range", "1024 65535"),
    ("ipv4/tcp_tw_reuse", "1"),
    ("core/somaxconn", "4096"),
];

/// Where things run: the proxies alone on one core, all else on the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) proxy: usize,
    pub(crate) others: usize,
}

/// Whose sidecar it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client's.
    Outbound,
    /// The server's.
    Inbound,
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

    /// Runs `body` in the pod of a sidecar, on the core of the proxies.
    pub(crate) fn as_proxy<T: Send>(
        &self,
        side: Side,
        body: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let pod = match side {
            Side::Outbound => &self.client,
            Side::Inbound => &self.server,
        };
        inside(pod, self.cores.proxy, body)
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
        let flush = || -> Result<()> {
            execute(Command::new("conntrack").arg("-F"), "", LIMIT)?;
            Ok(())
        };
        self.as_client(flush)?;
        self.as_server(flush)
    }

    fn capture(&self, agent: &Path) -> Result<()> {
        let capture = |arguments: &[&str]| -> Result<()> {
            let mut command = Command::new(agent);
            execute(command.arg("capture").args(arguments), "", LIMIT)?;
            Ok(())
        };
        let direct = list(Protocol::ALL.into_iter().map(Protocol::direct_port));
        self.as_client(|| capture(&["--exclude-outbound-ports", &direct]))?;
        let both = Sidecars::ALL.into_iter().filter(|them| them.are_both());
        let meshed = list(both.flat_map(|by| Protocol::ALL.map(|of| of.port(by))));
        // The server dials nobody.
        let nothing = ["--include-outbound-cidrs", "", "--include-inbound-ports"];
        self.as_server(|| capture(&[&nothing[..], &[&meshed]].concat()))
    }
}

// === impl Side ===

impl Side {
    /// Port that the rules send connections to.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Outbound => OUTBOUND,
            Self::Inbound => INBOUND,
        }
    }
}

/// Connections a proxy can forward, which takes two descriptors each, with some to spare.
pub(crate) fn connections() -> Result<u64> {
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok((allowed / 2).saturating_sub(200).min(30_000))
}

/// Ports, as `weir-agent capture` takes them.
fn list(ports: impl Iterator<Item = u16>) -> String {
    let ports: Vec<String> = ports.map(|port| port.to_string()).collect();
    ports.join(",")
}

fn inside<T: Send>(pod: &NetNs, core: usize, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    pod.run(|| {
        pin(core)?;
        body()
    })
}
