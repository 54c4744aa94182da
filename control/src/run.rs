//! Composition: what is served where, and in which order it starts and ends.

use std::{
    io::{self, Write},
    sync::Arc,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tracing_subscriber::EnvFilter;
use weir_discovery::{
    manifests::{self, Directory},
    model::Event,
    publish,
    xds::{AdsServer, Generator, Hub, Settings},
};
use weir_injector::webhook::Injector;

use crate::{
    Config, ControlError,
    certificates::Certificates,
    debug,
    serve::{self, Bound, Sockets},
    webhook,
};

/// Batches of changes the registry may be ahead of the model: enough for a burst, and each is small.
const EVENT_BATCHES: usize = 16;

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
    let (directory, initial) = open_manifests(&config)?;
    let injector = Arc::new(Injector::new(injector_config(&config)?));
    let certificates = Certificates::open(&config.certs_dir, &config.serving_names)
        .map_err(|error| ControlError::Config(format!("--certs-dir: {error}")))?;
    let certificates = Arc::new(certificates);
    let sockets = Sockets::bind(&config).await?;
    let addresses = sockets.bound(&config)?;

    let hub = Arc::new(Hub::new(Generator::new(Settings {
        cluster_domain: config.cluster_domain.clone(),
    })));
    let (events, batches) = mpsc::channel(EVENT_BATCHES);
    let mut background = JoinSet::new();
    background.spawn(manifests::watch(directory, events));
    background.spawn(publish::publish(initial, batches, hub.clone()));
    let renewed = certificates.clone();
    background.spawn(async move { renewed.keep_fresh().await });

    let mut servers = JoinSet::new();
    let ads = AdsServer::new(hub.clone());
    let tls = TlsAcceptor::from(certificates.server_config(&[b"h2"]));
    servers.spawn(serve::xds(
        sockets.xds_plaintext,
        None,
        ads.clone(),
        stopped.clone(),
    ));
    servers.spawn(serve::xds(sockets.xds, Some(tls), ads, stopped.clone()));
    let debug = debug::router(hub, injector.clone(), certificates.clone());
    servers.spawn(serve::http(sockets.debug, debug, stopped.clone()));
    let routes = weir_injector::webhook::router(injector);
    servers.spawn(async move {
        let stop = serve::stop(stopped);
        webhook::serve(sockets.webhook, routes, &certificates, stop).await;
    });
    bound(&addresses);
    while let Some(ended) = servers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a server ended");
        }
    }
    Ok(())
}

fn open_manifests(config: &Config) -> Result<(Directory, Vec<Event>), ControlError> {
    Directory::open(&config.manifests).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        ControlError::Config(format!("--manifests: {}", errors.join("\n  ")))
    })
}

fn injector_config(config: &Config) -> Result<weir_injector::Config, ControlError> {
    let Some(path) = &config.injector_config else {
        return Ok(weir_injector::Config {
            cluster_domain: config.cluster_domain.clone(),
            ..weir_injector::Config::default()
        });
    };
    let wrong = |reason: String| {
        ControlError::Config(format!("--injector-config {}: {reason}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let document = yaml_serde::Deserializer::from_str(&text);
    weir_injector::Config::read(document).map_err(|error| wrong(error.to_string()))
}

fn announce(bound: &Bound) {
    // Addresses and a path; nothing in there fails to serialise. A closed standard output is no
    // reason to end.
    if let Ok(line) = serde_json::to_string(bound) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
