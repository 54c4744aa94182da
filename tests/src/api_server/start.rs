//! Starts etcd, kube-apiserver and the controller manager, and waits until they serve.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{ApiServer, Assets, Place, audit, credentials, kubectl, process::Process};
use crate::{eventually::eventually, netns::NetNs};

/// Service addresses, and the first of them, which is the API server's own.
const SERVICE_CIDR: &str = "10.96.0.0/16";
const OWN_SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

/// First of the ports used: below the range the kernel hands out, and nobody's in particular.
const FIRST_PORT: u16 = 17_379;

/// How long each may take to be ready, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Addresses of what is started.
struct Addresses {
    etcd_peer: SocketAddr,
    etcd: SocketAddr,
    api: SocketAddr,
}

pub(super) fn start(assets: &Assets, place: Place) -> Result<ApiServer> {
    let dir = TempDir::with_prefix("weir-api-")?;
    let netns = match place {
        Place::Machine => None,
        Place::Namespace => Some(network()?),
    };
    let at = Addresses::free();
    let kubeconfig = credentials::write(dir.path(), at.api, OWN_SERVICE)?;
    fs::write(dir.path().join("audit.yaml"), audit::POLICY)?;
    let mut server = ApiServer {
        kubeconfig,
        kubectl: assets.program("kubectl").unwrap_or_else(kubectl),
        processes: Vec::new(),
        netns,
        controllers: assets.program("kube-controller-manager").is_some(),
        dir,
    };
    server.start_program(assets, "etcd", &at.etcd_arguments(&server))?;
    server.start_program(assets, "kube-apiserver", &at.api_arguments(&server))?;
    server.await_ready()?;
    if server.controllers {
        let arguments = controller_arguments(&server);
        server.start_program(assets, "kube-controller-manager", &arguments)?;
        server.await_account("default")?;
    }
    Ok(server)
}

/// A network namespace in which addresses of Services lead somewhere, so that rules can redirect them.
fn network() -> Result<NetNs> {
    let netns = NetNs::new()?;
    netns.ip(&["route", "add", "local", SERVICE_CIDR, "dev", "lo"])?;
    Ok(netns)
}

impl ApiServer {
    fn start_program(&mut self, assets: &Assets, name: &str, arguments: &[String]) -> Result<()> {
        let program = assets.program(name).context("the program is gone")?;
        // Whoever is started first ends last, and clears away.
        let leftover = self.processes.is_empty().then(|| self.dir.path());
        let process = Process::start(
            self.netns.as_ref(),
            &program,
            arguments,
            self.dir.path(),
            leftover,
        )?;
        self.processes.insert(0, process);
        Ok(())
    }

    pub(super) fn await_ready(&mut self) -> Result<()> {
        let mut ended = Ok(());
        let ready = eventually(PATIENCE, || {
            ended = self.processes.iter_mut().try_for_each(Process::check);
            let ready = self.kubectl(&["get", "--raw", "/readyz"]);
            (ended.is_err() || ready.is_ok()).then_some(())
        });
        ended?;
        let words = || {
            format!(
                "kube-apiserver is not ready: {}",
                self.processes[0].last_words()
            )
        };
        ready.with_context(words)
    }
}

// === impl Addresses ===

impl Addresses {
    /// Addresses that no other process's API server has: loopback is wide enough for one of each
    /// process, and ports tell a process's own apart.
    fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let port = FIRST_PORT + 3 * NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, high, middle, low] = process::id().to_be_bytes();
        let ip = IpAddr::V4(Ipv4Addr::new(127, 64 | high, middle, low));
        Self {
            etcd_peer: (ip, port).into(),
            etcd: (ip, port + 1).into(),
            api: (ip, port + 2).into(),
        }
    }

    fn etcd_arguments(&self, server: &ApiServer) -> Vec<String> {
        let Self {
            etcd, etcd_peer, ..
        } = self;
        vec![
            format!("--data-dir={}/etcd", server.dir().display()),
            format!("--listen-client-urls=http://{etcd}"),
            format!("--advertise-client-urls=http://{etcd}"),
            format!("--listen-peer-urls=http://{etcd_peer}"),
            format!("--initial-advertise-peer-urls=http://{etcd_peer}"),
            format!("--initial-cluster=default=http://{etcd_peer}"),
            "--unsafe-no-fsync".to_owned(),
        ]
    }

    fn api_arguments(&self, server: &ApiServer) -> Vec<String> {
        let dir = server.dir().display();
        let Self { etcd, api, .. } = self;
        let mut arguments = vec![
            format!("--etcd-servers=http://{etcd}"),
            format!("--bind-address={}", api.ip()),
            format!("--advertise-address={}", api.ip()),
            format!("--secure-port={}", api.port()),
            // Loopback addresses may not be endpoints.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--tls-cert-file={dir}/api.crt"),
            format!("--tls-private-key-file={dir}/api.key"),
            format!("--token-auth-file={dir}/tokens.csv"),
            format!("--service-cluster-ip-range={SERVICE_CIDR}"),
            format!("--service-account-key-file={dir}/accounts.pub"),
            format!("--service-account-signing-key-file={dir}/accounts.key"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--profiling=false".to_owned(),
            format!("--audit-policy-file={dir}/audit.yaml"),
            format!("--audit-log-path={dir}/audit.log"),
        ];
        if !server.controllers {
            // Nobody makes ServiceAccounts, which pods would have to have.
            arguments.push("--disable-admission-plugins=ServiceAccount".to_owned());
        }
        arguments
    }
}

fn controller_arguments(server: &ApiServer) -> Vec<String> {
    let dir = server.dir().display();
    vec![
        format!("--kubeconfig={}", server.kubeconfig.display()),
        format!("--service-account-private-key-file={dir}/accounts.key"),
        format!("--root-ca-file={dir}/ca.crt"),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        // Nodes of tests have no kubelet that says it is alive; their pods are to stay.
        "--controllers=*,-nodeipam,-nodelifecycle,-taint-eviction-controller".to_owned(),
    ]
}
