//! As much of an API server as a registry needs: lists that come as streams, and watches. It has
//! every answer ready before it is asked, so that what is measured is the one who asks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::wrappers::BroadcastStream;

use crate::cluster::{Cluster, Kind};

/// Bytes of events that travel together, as a server's buffer makes it.
const CHUNK: usize = 256 << 10;
/// Changes a watch may be behind.
const BACKLOG: usize = 1024;

/// The server.
#[derive(Debug, Clone)]
pub(crate) struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    cluster: Cluster,
    /// What a stream of each kind begins with.
    initial: Vec<(Kind, Vec<Bytes>)>,
    changes: broadcast::Sender<(Kind, Bytes)>,
    version: AtomicU64,
}

// === impl Api ===

impl Api {
    /// Serves that cluster from now on.
    pub(crate) async fn start(cluster: Cluster) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("API server")?;
        let initial = Kind::ALL.map(|kind| (kind, initial(cluster, kind)));
        let api = Self(Arc::new(Shared {
            address: listener.local_addr()?,
            cluster,
            initial: initial.into(),
            changes: broadcast::channel(BACKLOG).0,
            version: AtomicU64::new(1_000_000_000),
        }));
        let router = Router::new().fallback(answer).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(api)
    }

    /// What clients are given to find it.
    pub(crate) fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://{}", self.0.address)}}],
            "users": [{"name": "bench", "user": {"token": "none"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        })
    }

    /// Bytes of what a full listing sends.
    pub(crate) fn size(&self) -> usize {
        let chunks = self.0.initial.iter().flat_map(|(_, chunks)| chunks);
        chunks.map(Bytes::len).sum()
    }

    /// Says that so many endpoints of a service are ready.
    pub(crate) fn change(&self, service: u32, ready: u32) {
        let version = self.0.version.fetch_add(1, Ordering::Relaxed);
        let mut slice = self.0.cluster.slice(service, ready);
        slice["metadata"]["resourceVersion"] = version.to_string().into();
        let line = format!("{}\n", json!({"type": "MODIFIED", "object": slice}));
        // Nobody watches: then nobody needs to know.
        let _ = self.0.changes.send((Kind::EndpointSlice, line.into()));
    }
}

fn initial(cluster: Cluster, kind: Kind) -> Vec<Bytes> {
    let (mut chunks, mut chunk) = (Vec::new(), String::new());
    for number in 0..cluster.count(kind) {
        let mut object = cluster.object(kind, number);
        object["metadata"]["resourceVersion"] = (1000 + number).to_string().into();
        chunk += &json!({"type": "ADDED", "object": object}).to_string();
        chunk.push('\n');
        if chunk.len() >= CHUNK {
            chunks.push(std::mem::take(&mut chunk).into());
        }
    }
    let bookmark = json!({"type": "BOOKMARK", "object": {
        "kind": kind.name(), "apiVersion": kind.api_version(),
        "metadata": {
            "resourceVersion": "1000000000",
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }});
    chunks.push(format!("{chunk}{bookmark}\n").into());
    chunks
}

async fn answer(
    State(api): State<Api>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    uri: Uri,
) -> Response {
    let asks = |key: &str| {
        query
            .iter()
            .any(|(name, value)| name == key && value == "true")
    };
    let initial = &api.0.initial;
    let Some((kind, chunks)) = initial.iter().find(|(kind, _)| kind.path() == uri.path()) else {
        return refuse(&method, &uri);
    };
    if !asks("watch") {
        return refuse(&method, &uri);
    }
    let kind = *kind;
    let first = if asks("sendInitialEvents") {
        chunks.clone()
    } else {
        Vec::new()
    };
    let changes = BroadcastStream::new(api.0.changes.subscribe());
    let changes = changes.filter_map(move |change| {
        let change = change.ok().filter(|(of, _)| *of == kind);
        std::future::ready(change.map(|(_, line)| line))
    });
    let body = stream::iter(first)
        .chain(changes)
        .map(Ok::<_, std::io::Error>);
    (
        [("content-type", "application/json")],
        Body::from_stream(body),
    )
        .into_response()
}

/// There is nothing else here, and nothing is written.
fn refuse(method: &Method, uri: &Uri) -> Response {
    let (code, reason) = match *method {
        Method::GET => (StatusCode::NOT_FOUND, "NotFound"),
        _ => (StatusCode::FORBIDDEN, "Forbidden"),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": format!("{} is no part of this benchmark", uri.path()),
    });
    (code, Json(status)).into_response()
}
