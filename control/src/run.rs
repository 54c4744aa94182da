//! Composition: what is served where, and in which order it starts and ends.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tracing_subscriber::EnvFilter;
use weir_discovery::xds::{AdsServer, Limits};
use weir_guard::{Guard, raise_open_files};

use crate::{
    Config, ControlError, debug,
    guards::Guards,
    issuer::CertificateAuthority,
    kubernetes::Cluster,
    serve::{self, Bound, Services, Sockets},
    webhook,
};

mod files;
mod parts;
mod settings_file;

use files::Files;
pub(crate) use parts::{Known, Parts, default_injector, hub, injector, rule_settings};

/// Batches of changes the registry may be ahead of the model: enough for a burst, and each is small.
pub(crate) const EVENT_BATCHES: usize = 16;

/// Runs until SIGTERM or SIGINT, and says on standard output where it listens: one line of JSON.
///
/// # Errors
/// It cannot start.
pub fn run_until_signal(config: Config) -> Result<(), ControlError> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| ControlError::Config(format!("--log {}: {error}", config.log)))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let failed = |what| move |source| ControlError::System { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed("cannot start threads"))?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        let handle = |kind| signal(kind).map_err(failed("cannot handle signals"));
        let mut terminate = handle(SignalKind::terminate())?;
        let mut interrupt = handle(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            let _ = stop.send(true);
        });
        run(config, stopped, announce).await
    })
}

/// Runs until `stopped` turns true, and tells `bound` where it listens once everything does.
///
/// # Errors
/// It cannot start. Nothing is served then.
pub async fn run(
    config: Config,
    stopped: watch::Receiver<bool>,
    bound: impl FnOnce(&Bound),
) -> Result<(), ControlError> {
    config.check()?;
    let source = match &config.manifests {
        Some(manifests) => Source::Files(Box::new(Files::open(&config, manifests)?)),
        None => Source::Cluster(Box::new(Cluster::open(&config).await?)),
    };
    let guards = Arc::new(Guards::new(open_files(), config.node_ip));
    let sockets = Sockets::bind(&config)?;
    let addresses = sockets.bound(&config)?;

    let parts = match &source {
        Source::Files(files) => files.parts(&config),
        Source::Cluster(cluster) => {
            let hub = hub(&config);
            let injector = cluster.injector(&hub);
            Parts::new(&config, hub, injector, Arc::default())
        }
    };
    let webhook_tls = webhook::tls(&parts.serving, config.webhook_client_ca.as_deref())?;
    let mut background = JoinSet::new();
    let (cluster, authenticator) = match source {
        Source::Files(files) => {
            let authenticator = files.authenticator();
            files.start(&parts, &mut background);
            (None, authenticator)
        }
        Source::Cluster(cluster) => {
            let running = cluster.start(&parts, &mut background);
            (Some(running.views), Some(running.authenticator))
        }
    };

    let mut servers = JoinSet::new();
    let ads = AdsServer::new(parts.hub.clone()).with_limits(Limits {
        connection_age: Duration::from_secs(u64::from(config.xds_connection_age) * 60),
        ..Limits::default()
    });
    let certificates = CertificateAuthority {
        issuer: parts.issuer.clone(),
        authenticator: authenticator.clone(),
        peer: None,
    };
    // On loopback anybody is told what is where; a certificate is somebody's everywhere.
    let plaintext = Services {
        ads: ads.clone(),
        certificates,
    };
    let services = Services {
        ads: match authenticator {
            Some(authenticator) => ads.authenticated(authenticator),
            None => ads,
        },
        ..plaintext.clone()
    };
    let tls = TlsAcceptor::from(parts.serving.server_config(&[b"h2"]));
    let (listener, guard) = (sockets.xds_plaintext, guards.xds_plaintext.clone());
    servers.spawn(serve::xds(
        listener,
        guard,
        None,
        plaintext,
        stopped.clone(),
    ));
    let (listener, guard) = (sockets.xds, guards.xds.clone());
    servers.spawn(serve::xds(
        listener,
        guard,
        Some(tls),
        services,
        stopped.clone(),
    ));
    let debug = debug::router(&parts, cluster, guards.clone(), config.debug_from);
    let guard = guards.debug.clone();
    servers.spawn(serve::http(sockets.debug, guard, debug, stopped.clone()));
    let guard = guards.webhook.clone();
    servers.spawn(webhooks(
        parts,
        webhook_tls,
        sockets.webhook,
        guard,
        stopped,
    ));
    bound(&addresses);
    while let Some(ended) = servers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a server ended");
        }
    }
    Ok(())
}

/// Serves the webhooks once the injector can decide: what one with defaults would add to a pod is not
/// what the administrator wants. Until then connections wait in the kernel's queue.
async fn webhooks(
    parts: Parts,
    tls: Arc<ServerConfig>,
    socket: TcpListener,
    guard: Arc<Guard>,
    stopped: watch::Receiver<bool>,
) {
    let mut known = parts.known.subscribe();
    let stop = serve::stop(stopped);
    tokio::pin!(stop);
    tokio::select! {
        _ = known.wait_for(Known::all) => {}
        () = &mut stop => return,
    }
    let routes = weir_injector::webhook::router(parts.injector);
    webhook::serve_guarded(socket, &guard, routes, tls, stop).await;
}

/// How many files may be open: as many as the kernel lets us.
fn open_files() -> u64 {
    /// What a soft limit mostly is.
    const USUAL: u64 = 1024;
    raise_open_files().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot raise the limit of open files");
        USUAL
    })
}

/// Where services, certificates and configuration come from.
enum Source {
    Files(Box<Files>),
    Cluster(Box<Cluster>),
}

fn announce(bound: &Bound) {
    // Addresses and a path; nothing in there fails to serialise. A closed standard output is no
    // reason to end.
    if let Ok(line) = serde_json::to_string(bound) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
