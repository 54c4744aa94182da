//! Makes a call and collects what is to be known of it: the client's word, the sidecars' records of
//! connections and their statistics before and after.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, SocketAddrV4},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use weir_playground::{Playground, admin, cluster::PodKey, image::PROGRAM_DIR};

use super::{check, plan::Call, world::World};
use crate::call::Outcome;

/// How long a sidecar may take to count what its client has already seen the end of.
const SETTLE: Duration = Duration::from_millis(1500);

/// A call and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) title: String,
    pub(super) from: String,
    pub(super) url: String,
    pub(super) outcome: Outcome,
    /// What the sidecar nearest to the caller recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<Record>,
    /// Whether the sidecar that has the record spoke mutual TLS with its peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mutual_tls: Option<bool>,
    /// Name of the pod the record's endpoint is, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<String>,
    /// What was not as it should be.
    pub(super) faults: Vec<String>,
}

/// One entry of a sidecar's `/connections`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(default)]
    pub(super) direction: String,
    #[serde(default)]
    pub(super) filter_chain: Option<String>,
    #[serde(default)]
    pub(super) protocol: Option<String>,
    #[serde(default)]
    pub(super) cluster: Option<String>,
    #[serde(default)]
    pub(super) upstream_host: Option<SocketAddr>,
    #[serde(default)]
    pub(super) downstream_remote_address: Option<SocketAddr>,
    #[serde(default)]
    pub(super) original_destination: Option<SocketAddr>,
}

/// Statistics of a sidecar by name.
pub(super) type Stats = BTreeMap<String, u64>;

/// Makes `call` and checks it.
pub(super) async fn make(playground: &Playground, world: &World, call: Call) -> Row {
    let watched = watched(world, &call);
    let before = stats_of(playground, &watched).await;
    let outcome = execute(playground, world, &call).await;
    // Sidecars count when a connection ends, which may be a moment after the client has its answer.
    let deadline = tokio::time::Instant::now() + SETTLE;
    let (faults, record, after) = loop {
        let after = stats_of(playground, &watched).await;
        let record = record_of(playground, &watched, &outcome).await;
        let faults = check::faults(
            world,
            &call,
            &outcome,
            record.as_ref(),
            &check::grown(&before, &after),
        );
        if faults.is_empty() || tokio::time::Instant::now() > deadline {
            break (faults, record, after);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    };
    let endpoint = record.as_ref().and_then(|record| record.upstream_host);
    let endpoint = endpoint.and_then(|address| match address {
        SocketAddr::V4(address) => world.name_of(*address.ip()).map(ToOwned::to_owned),
        SocketAddr::V6(_) => None,
    });
    let row = Row {
        title: call.title,
        from: call.from.to_string(),
        url: call.url,
        mutual_tls: record
            .as_ref()
            .and_then(|record| record.mutual_tls(after.get(&call.from))),
        outcome,
        record,
        endpoint,
        faults,
    };
    let mark = if row.faults.is_empty() {
        "ok"
    } else {
        "FAILED"
    };
    playground
        .shared()
        .say(&format!("{mark:6} {} -> {}", row.from, row.url));
    row
}

// === impl Record ===

impl Record {
    /// Whether the peer was spoken to by mutual TLS. A connection to an endpoint may be one that was
    /// made for an earlier call, so the cluster's count of handshakes says it; those who come in are
    /// told apart by filter chains. `stats` are the caller's.
    fn mutual_tls(&self, stats: Option<&Stats>) -> Option<bool> {
        if self.direction != "outbound" {
            return Some(self.filter_chain.as_ref()?.contains("mtls"));
        }
        let handshakes = format!("cluster.{}.ssl.handshake", self.cluster.as_ref()?);
        Some(stats?.get(&handshakes).is_some_and(|count| *count > 0))
    }
}

/// Pods whose sidecars may have something to say about a call.
fn watched(world: &World, call: &Call) -> Vec<PodKey> {
    let mut keys = vec![call.from.clone()];
    keys.extend(call.expected.inbound.iter().map(|(key, _)| key.clone()));
    keys.sort();
    keys.dedup();
    keys.retain(|key| world.pod(key).is_some_and(|pod| pod.meshed));
    keys
}

/// Runs the client in the caller's container. That it could not be run is what became of the call.
async fn execute(playground: &Playground, world: &World, call: &Call) -> Outcome {
    let failed = |error: String| Outcome {
        url: call.url.clone(),
        error: Some(format!("cannot call: {error}")),
        ..Outcome::default()
    };
    let Some(pod) = world.pod(&call.from) else {
        return failed(format!("there is no pod {}", call.from));
    };
    let argv = [&format!("{PROGRAM_DIR}/weir"), "call", &call.url].map(ToOwned::to_owned);
    let output = playground.execute(&call.from, &pod.container, argv.to_vec());
    match output.await {
        Err(error) => failed(error.to_string()),
        Ok(output) => serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// Statistics of each pod's sidecar; those that do not answer are left out.
async fn stats_of(playground: &Playground, keys: &[PodKey]) -> BTreeMap<PodKey, Stats> {
    let mut all = BTreeMap::new();
    for key in keys {
        if let Some(text) = ask(playground, key, "/stats").await {
            all.insert(key.clone(), parse_stats(&text));
        }
    }
    all
}

/// Statistics of every sidecar of the demo.
pub(super) async fn stats_of_all(
    playground: &Playground,
    world: &World,
) -> BTreeMap<PodKey, Stats> {
    let meshed: Vec<PodKey> = world
        .pods
        .iter()
        .filter(|pod| pod.meshed)
        .map(|pod| pod.key.clone())
        .collect();
    stats_of(playground, &meshed).await
}

/// What a sidecar recorded of the call: the caller's, else that of a pod that was called.
async fn record_of(
    playground: &Playground,
    watched: &[PodKey],
    outcome: &Outcome,
) -> Option<Record> {
    let local = outcome.local?;
    for key in watched {
        let Some(text) = ask(playground, key, "/connections?format=json").await else {
            continue;
        };
        // One by one, so that an entry this program does not understand costs that entry only.
        let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
        let records = entries
            .into_iter()
            .filter_map(|entry| serde_json::from_value(entry).ok());
        let of_call = |record: &Record| record.downstream_remote_address == Some(local);
        let found = records.rev().find(of_call);
        if found.is_some() {
            return found;
        }
    }
    None
}

async fn ask(playground: &Playground, key: &PodKey, path: &'static str) -> Option<String> {
    let netns = playground.shared().netns_of(key)?;
    // It blocks, on a thread that has entered the pod's namespace.
    tokio::task::spawn_blocking(move || admin::get(&netns, path))
        .await
        .ok()?
        .ok()
}

/// Lines of `name: number`; histograms and texts are left out.
pub(super) fn parse_stats(text: &str) -> Stats {
    let line = |line: &str| {
        let (name, value) = line.rsplit_once(": ")?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// An address as the checks compare it.
pub(super) fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}
