//! One cluster, from the start of the control plane to changes that reach its clients.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{
    Args,
    api::Api,
    clients::{self, Clients},
    cluster::{Cluster, ENDPOINTS},
    process::{Control, Memory},
    sidecar,
};

/// Services each client uses.
const USED: u32 = 20;
/// Clients that use other services.
const OTHERS: usize = 100;
/// Pause after which nothing is on its way any more: more than the debounce.
const QUIET: Duration = Duration::from_millis(300);

/// What came out.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) services: u32,
    pub(crate) endpoints: u32,
    /// What the API server sends for one listing, bytes.
    pub(crate) listing: usize,
    /// From the start of the process to an answer, seconds.
    pub(crate) sync_s: f64,
    /// Resident memory once synced.
    pub(crate) synced: Memory,
    /// Resident memory with all clients.
    pub(crate) served: Memory,
    pub(crate) clients: usize,
    /// Until all clients had what they asked for, seconds.
    pub(crate) connect_s: f64,
    /// From an event to the ACK of a client, milliseconds, the debounce included.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// The same as the control plane sees it, mean of all.
    pub(crate) convergence_mean_ms: f64,
    /// Resident memory of a sidecar that talked to the services of one client, bytes.
    pub(crate) sidecar: Option<u64>,
}

/// Measures a cluster of so many services.
pub(crate) async fn cluster(args: &Args, services: u32) -> Result<Outcome> {
    let cluster = Cluster { services };
    let api = Api::start(cluster).await?;
    let control = Control::start(&args.control, &api).await?;
    let synced_at = clients::first_answer(&control.xds(), services - 1).await?;
    tokio::time::sleep(QUIET).await;
    let synced = control.memory()?;

    let began = Instant::now();
    let used: Vec<u32> = (0..USED).collect();
    let mut users = Clients::connect(&control.xds(), "user", args.clients, &used).await?;
    let connect_s = began.elapsed().as_secs_f64();
    let unused: Vec<u32> = (USED..2 * USED).collect();
    let others = Clients::connect(&control.xds(), "other", OTHERS, &unused).await?;
    tokio::time::sleep(QUIET).await;

    let before = users.responses();
    let mut times = Vec::new();
    for change in 0..args.changes {
        // Each change takes an endpoint away, or gives it back.
        let ready = ENDPOINTS - 1 + change % 2;
        times.extend(users.each(|| api.change(0, ready)).await?);
        tokio::time::sleep(QUIET).await;
    }
    let told = users.responses() - before;
    let expected = u64::from(args.changes) * args.clients as u64;
    ensure!(
        told == expected,
        "{told} responses for {expected} changes of clients"
    );
    ensure!(
        others.responses() == 0,
        "clients of other services were told something"
    );

    times.sort_unstable();
    let at = |part: f64| {
        // Of a few thousand times; the cast loses nothing.
        let last = times.len() - 1;
        millis(times[((last as f64) * part).round() as usize])
    };
    let sum = control.metric("weir_xds_convergence_seconds_sum").await?;
    let count = control.metric("weir_xds_convergence_seconds_count").await?;
    let served = control.memory()?;
    drop((users, others));
    let sidecar = match args.agent.clone() {
        Some(agent) => {
            let address = control.xds_address()?;
            let measure = move || sidecar::measure(&agent, address, USED);
            Some(tokio::task::spawn_blocking(measure).await??)
        }
        None => None,
    };
    Ok(Outcome {
        services,
        endpoints: services * ENDPOINTS,
        listing: api.size(),
        sync_s: (synced_at - control.started).as_secs_f64(),
        synced,
        served,
        clients: args.clients,
        connect_s,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        convergence_mean_ms: sum / count * 1000.0,
        sidecar,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
