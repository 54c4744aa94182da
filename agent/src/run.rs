//! `weir-agent run`: the sidecar. Generates its own bootstrap from what the pod says about
//! itself, and lives as long as the pod needs it.

mod application;
mod bootstrap;
mod drain;
mod identity;
mod inbound_policy;
mod node;
mod ready;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use weir_api::{
    CaptureSpec,
    capture::CaptureMode,
    flows,
    inbound_demands::{InboundDemands, Probe},
    inbound_tls::InboundTls,
    mesh_metrics::{Label, MeshMetrics as Names},
    ports,
    sidecar::{self, PodPort, env},
    spiffe::TrustDomain,
    xds::{codec, envoy::config::bootstrap::v3 as proto},
};
use weir_guard::default_gateways;
use weir_iptables::Family;
use weir_proxy::{
    config::Bootstrap,
    convert,
    flows::Flows,
    mesh_metrics::{MeshMetrics, Settings},
    options::{ControlPlane, ControlPlaneTls, Options, ReadOnlyListeners},
    secrets::Local,
    server::Server,
};

use crate::{
    concurrency, failure::Failure, limits::Limits, logging::Logging, memory, open_files,
    shutdown::Signals,
};

use self::{bootstrap::Sidecar, inbound_policy::InboundPolicy};

/// Runs the sidecar of a pod.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pod: node::Pod,
    /// `host:port` of the control plane; empty: run without one.
    #[arg(long, value_name = "HOST:PORT", env = env::CONTROL_PLANE, default_value = "")]
    control_plane: String,
    /// Speak to the control plane without TLS. For development: anybody on the path can change
    /// where traffic goes.
    #[arg(long, env = env::CONTROL_PLANE_PLAINTEXT)]
    control_plane_plaintext: bool,
    /// Root certificates of the control plane, PEM.
    #[arg(long, value_name = "FILE", env = env::CA_FILE)]
    ca_file: Option<PathBuf>,
    /// Token that says to the control plane who this is.
    #[arg(long, value_name = "FILE", env = env::TOKEN_FILE)]
    token_file: Option<PathBuf>,
    /// Name in the control plane's certificate, where it is not the host it is dialled by.
    #[arg(long, value_name = "NAME", env = env::CONTROL_PLANE_NAME)]
    control_plane_name: Option<String>,
    /// What the identities of workloads of the mesh begin with.
    #[arg(long, value_name = "DOMAIN", env = env::TRUST_DOMAIN, default_value_t = TrustDomain::default())]
    trust_domain: TrustDomain,
    /// Ports of the application, a JSON list of `{"name":..,"containerPort":..}`.
    #[arg(long, value_name = "JSON", env = env::POD_PORTS, default_value = "[]")]
    pod_ports: JsonList<PodPort>,
    /// Who is served on the application's ports until the control plane says it, JSON such as
    /// `{"mode":"STRICT"}`. Absent: everybody.
    #[arg(long, value_name = "JSON", env = env::INBOUND_TLS)]
    inbound_tls: Option<InboundTls>,
    /// Serve nobody on the application's ports until the control plane has said who may do what, but the
    /// node what its probes ask.
    #[arg(long, env = env::REFUSE_INBOUND)]
    refuse_inbound: bool,
    /// What the kubelet asks, a JSON list of `{"port":..,"path":..}`; without a path, gRPC's health
    /// service. It is answered where plaintext is refused.
    #[arg(long, value_name = "JSON", env = env::PROBES, default_value = "[]")]
    probes: JsonList<Probe>,
    /// Address of the node, where probes come from, beside this network's gateways.
    #[arg(long, value_name = "ADDRESS", env = env::HOST_IP)]
    host_ip: Option<IpAddr>,
    /// Where the last inbound policy is kept, which a restart begins with.
    #[arg(long, value_name = "DIRECTORY", env = env::STATE_DIR, default_value = sidecar::STATE_DIR)]
    state_dir: PathBuf,
    /// What the names of mesh metrics begin with, such as `istio` for dashboards that know those;
    /// `off`: calls are not counted by who calls whom.
    #[arg(long, value_name = "PREFIX", env = env::MESH_METRICS, default_value_t = Names::default())]
    mesh_metrics: Names,
    /// Labels that mesh metrics do without, such as `source_version,destination_version`.
    #[arg(long, value_name = "LABELS", env = env::MESH_METRICS_WITHOUT, value_delimiter = ',')]
    mesh_metrics_without: Vec<Label>,
    /// How long it is remembered who did what at this pod, for `weir policy test`, minutes; 0: not at all.
    #[arg(long, value_name = "MINUTES", env = env::FLOW_MINUTES, default_value_t = flows::DEFAULT_MINUTES,
          value_parser = clap::value_parser!(u16).range(..=i64::from(flows::MAX_MINUTES)))]
    flow_minutes: u16,
    /// Worker threads.
    #[arg(long, value_name = "N", env = env::CONCURRENCY)]
    concurrency: Option<NonZeroUsize>,
    /// CPU request in millicores; worker threads where their number is not given.
    #[arg(long, value_name = "M", env = env::CPU_REQUEST)]
    cpu_request: Option<u64>,
    /// How connections get here. With `none`, readiness does not wait for the redirect.
    #[arg(long, value_name = "MODE", env = env::CAPTURE_MODE, default_value_t = CaptureMode::Redirect)]
    capture_mode: CaptureMode,
    /// After SIGTERM: end at the latest after so many seconds.
    #[arg(long, value_name = "SECONDS", env = env::DRAIN_TIMEOUT, default_value = "30", value_parser = seconds)]
    drain_timeout: Duration,
    /// After SIGTERM: serve at least so many seconds, and until no other process of the pod has a
    /// socket. 0: the application has ended by then, as with a native sidecar.
    #[arg(long, value_name = "SECONDS", env = env::DRAIN_MINIMUM, default_value = "5", value_parser = seconds)]
    drain_minimum: Duration,
    /// Print the bootstrap as YAML and exit. Envoy takes it too.
    #[arg(long)]
    print_bootstrap: bool,
}

/// What the cluster is called in metrics, as Istio calls one that has no name.
const CLUSTER: &str = "Kubernetes";

/// A list in a variable; an empty one is what an absent annotation leaves behind.
#[derive(Debug, Clone)]
struct JsonList<T>(Vec<T>);

// === impl JsonList ===

impl<T: DeserializeOwned> FromStr for JsonList<T> {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = if text.trim().is_empty() { "[]" } else { text };
        serde_json::from_str(text).map(Self)
    }
}

pub(crate) fn main(args: &Args, logging: Logging) -> Result<(), Failure> {
    let node_addresses = node_addresses(args);
    let sidecar = sidecar(args, &node_addresses, open_files::raise());
    let policy = InboundPolicy::new(args.state_dir.clone(), sidecar.has_ipv6);
    let began = bootstrap(&sidecar, &policy)?;
    if args.print_bootstrap {
        return bootstrap::print(&began.source);
    }
    let Began {
        source,
        bootstrap,
        note: inbound_note,
    } = began;
    let (sender, receiver) = watch::channel(false);
    let mut options = Options::new(source);
    options.concurrency = concurrency(args);
    options.control_plane = control_plane(args);
    options.read_only = read_only(&node_addresses);
    options.trim_heap = Some(weir_sys::trim_heap);
    options.log_filter = Some(logging.filter());
    options.ready = Some(receiver);
    options.mesh_metrics = mesh_metrics(args);
    options.flows = (args.flow_minutes > 0).then(|| Flows::new(args.flow_minutes));
    let issuer = issuer(args);
    let secrets = Local::new(&[identity::SECRET]);
    let (note, noted) = watch::channel(String::new());
    let (inbound_note, inbound_noted) = watch::channel(inbound_note);
    if issuer.is_some() {
        options.local_secrets = Some(secrets.clone());
        options.notes.push(noted);
    }
    options.notes.push(inbound_noted);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("control thread")?;
    let server = Server::start(&bootstrap, options).map_err(anyhow::Error::from)?;
    let (handle, families) = (server.handle(), families(&sidecar));
    tracing::info!(
        workers = concurrency(args),
        control_plane = args.control_plane,
        "serving"
    );
    let limits = drain::Limits {
        minimum: args.drain_minimum,
        timeout: args.drain_timeout.max(args.drain_minimum),
    };
    runtime
        .block_on(async {
            match args.capture_mode {
                CaptureMode::None => drop(sender.send_replace(true)),
                CaptureMode::Redirect | CaptureMode::Tproxy => {
                    tokio::spawn(ready::prove(CaptureSpec::default(), families, sender));
                }
            }
            if let Some(issuer) = issuer {
                let status = identity::Status::new(handle.registry(), note);
                let sink = move |secret| secrets.set(secret).map_err(|error| error.to_string());
                tokio::spawn(identity::keep(issuer, sink, status));
                tokio::spawn(policy.keep(handle.clone(), inbound_note));
            }
            let signals = Signals::new()?;
            tokio::spawn(memory::give_back(handle.clone()));
            server.run(drain::until_done(signals, handle, limits)).await
        })
        .context("data plane")?;
    Ok(())
}

fn mesh_metrics(args: &Args) -> Option<Arc<MeshMetrics>> {
    let Names::Named(prefix) = &args.mesh_metrics else {
        return None;
    };
    Some(MeshMetrics::new(Settings {
        prefix: prefix.clone(),
        own: args.pod.workload(),
        cluster: CLUSTER.to_owned(),
        without: args.mesh_metrics_without.clone(),
    }))
}

/// What the sidecar begins with.
struct Began {
    source: proto::Bootstrap,
    bootstrap: Bootstrap,
    /// What is to be said of its inbound policy until the control plane has answered.
    note: String,
}

/// Of what was kept, and where that cannot be used, of what the injector stamped into the pod.
fn bootstrap(sidecar: &Sidecar<'_>, policy: &InboundPolicy) -> Result<Began, Failure> {
    let begin = |sidecar: &Sidecar<'_>| -> anyhow::Result<_> {
        let source = sidecar.bootstrap()?;
        let bootstrap = convert::bootstrap(codec::copy_bootstrap(&source))
            .map_err(|errors| anyhow!("{errors}"))?;
        Ok((source, bootstrap))
    };
    let kept = policy.load().map_err(anyhow::Error::from).and_then(|kept| {
        let begun = begin(&Sidecar {
            kept: &kept,
            node: sidecar.node.clone(),
            demands: sidecar.demands.clone(),
            ..*sidecar
        });
        Ok((begun?, !kept.is_empty()))
    });
    let ((source, bootstrap), is_kept) = match kept {
        Ok(begun) => begun,
        Err(error) => {
            let file = policy.path();
            let reason = format!("{error:#}");
            tracing::warn!(
                reason,
                file = %file.display(),
                "the inbound policy that was kept is ignored; what the injector stamped counts"
            );
            (
                begin(sidecar).context("the sidecar's own bootstrap")?,
                false,
            )
        }
    };
    let note = inbound_note(sidecar, is_kept);
    if sidecar.demands.is_guarded && !is_kept {
        tracing::warn!(
            control_plane = sidecar.control_plane.unwrap_or("none"),
            "inbound connections are refused until the control plane has said who may do what"
        );
    }
    Ok(Began {
        source,
        bootstrap,
        note,
    })
}

/// What is to be said of the inbound policy for as long as the control plane has not said it.
fn inbound_note(sidecar: &Sidecar<'_>, is_kept: bool) -> String {
    let demands = &sidecar.demands;
    let whose = match is_kept {
        true => "as the control plane said before the last restart".to_owned(),
        false if demands.is_guarded => {
            "nobody is let in, for an AuthorizationPolicy was about the pod at admission".to_owned()
        }
        // Who asks nobody has no other policy to wait for.
        false if sidecar.control_plane.is_none() => return String::new(),
        false => format!("as rules said at admission, {}", demands.tls),
    };
    format!("inbound policy: {whose}; the control plane has not said it yet")
}

/// Where the kubelet's probes come from.
fn node_addresses(args: &Args) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = args.host_ip.into_iter().chain(default_gateways()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// `files`: files that may be open.
fn sidecar<'a>(args: &'a Args, node_addresses: &'a [IpAddr], files: Option<u64>) -> Sidecar<'a> {
    let control_plane = Some(args.control_plane.as_str()).filter(|address| !address.is_empty());
    Sidecar {
        node: args.pod.node(&args.pod_ports.0, control_plane.is_some()),
        ports: &args.pod_ports.0,
        // Who has nobody to ask has no certificate.
        mutual_tls: control_plane.map(|_| &args.trust_domain),
        demands: InboundDemands {
            tls: args.inbound_tls.clone().unwrap_or_default(),
            is_guarded: args.refuse_inbound,
            probes: args.probes.0.clone(),
        },
        node_addresses,
        kept: &[],
        control_plane,
        has_ipv6: args.pod.has_ipv6(),
        limits: Limits::here(files),
    }
}

fn families(sidecar: &Sidecar<'_>) -> Vec<Family> {
    let v6 = sidecar.has_ipv6.then_some(Family::V6);
    std::iter::once(Family::V4).chain(v6).collect()
}

fn concurrency(args: &Args) -> NonZeroUsize {
    let request = args.cpu_request.filter(|request| *request > 0);
    args.concurrency
        .or_else(|| request.map(concurrency::from_millicores))
        .unwrap_or_else(concurrency::from_cgroup)
}

fn control_plane(args: &Args) -> ControlPlane {
    let tls = ControlPlaneTls {
        ca_file: mounted(&args.ca_file, sidecar::CA_DIR, sidecar::CA_FILE),
        server_name: args.control_plane_name.clone(),
        token_file: Some(token_file(args)),
    };
    ControlPlane {
        address: Some(args.control_plane.clone()).filter(|address| !address.is_empty()),
        tls: (!args.control_plane_plaintext).then_some(tls),
    }
}

/// The control plane, as the issuer of certificates.
fn issuer(args: &Args) -> Option<identity::Issuer> {
    let ControlPlane { address, tls } = control_plane(args);
    Some(identity::Issuer {
        address: address?,
        tls,
        token_file: token_file(args),
    })
}

fn token_file(args: &Args) -> PathBuf {
    mounted(&args.token_file, sidecar::TOKEN_DIR, sidecar::TOKEN_FILE)
}

fn mounted(file: &Option<PathBuf>, directory: &str, name: &str) -> PathBuf {
    file.clone()
        .unwrap_or_else(|| PathBuf::from(directory).join(name))
}

/// On every address of the pod, for the kubelet and scrapers are elsewhere.
fn read_only(node_addresses: &[IpAddr]) -> ReadOnlyListeners {
    let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let has_ipv6 = TcpListener::bind(any_v6).is_ok();
    let any = |port| {
        let v6 = has_ipv6.then_some(IpAddr::from(Ipv6Addr::UNSPECIFIED));
        let addresses = std::iter::once(Ipv4Addr::UNSPECIFIED.into()).chain(v6);
        addresses
            .map(|address| SocketAddr::new(address, port))
            .collect()
    };
    ReadOnlyListeners {
        prometheus: any(ports::PROMETHEUS),
        readiness: any(ports::READINESS),
        status: any(ports::STATUS),
        probes: node_addresses.to_vec(),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
