//! Metrics and debug endpoints. Read-only.

mod access;
mod clients;
mod metrics;
mod registry;
mod watches;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use clients::Wanted;
use serde::Deserialize;
use weir_discovery::{kubernetes::Watches, model::Snapshot, xds::Hub};
use weir_injector::webhook::Injector;

use crate::{
    DebugFrom, certificates::Serving, guards::Guards, health::Health, issuer::Issuer, kubernetes,
    run::Parts,
};

/// What the endpoints look at.
#[derive(Debug)]
struct Views {
    hub: Arc<Hub>,
    injector: Arc<Injector>,
    serving: Arc<Serving>,
    issuer: Arc<Issuer>,
    health: Arc<Health>,
    cluster: Option<Arc<kubernetes::Views>>,
    guards: Arc<Guards>,
}

type Shared = State<Arc<Views>>;

// === impl Views ===

impl Views {
    /// The watches of the API server, where there is one.
    fn watches(&self) -> Option<&Watches> {
        self.cluster.as_ref().map(|cluster| cluster.watches())
    }
}

/// Restricts what is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only services of this namespace.
    namespace: Option<String>,
    /// Only the service of this name.
    name: Option<String>,
}

const INDEX: &str = "<h1>weir-control</h1><ul>\
    <li><a href=/ready>/ready</a> whether it serves, and if not, why\
    <li><a href=/metrics>/metrics</a> Prometheus metrics\
    <li><a href=/debug/registryz>/debug/registryz</a> services (?namespace=, ?name=)\
    <li><a href=/debug/endpointz>/debug/endpointz</a> endpoints of services (?namespace=, ?name=)\
    <li><a href=/debug/configz>/debug/configz</a> names and versions of all resources\
    <li><a href=/debug/syncz>/debug/syncz</a> clients and how each stands with each type \
    (?proxy=POD.NAMESPACE, ?name= part of a node id)\
    <li><a href=/debug/watchz>/debug/watchz</a> watches of the API server, objects that something is \
    wrong with, services that claim one address\
    <li><a href=/debug/connections>/debug/connections</a> who is connected from where\
    <li>/debug/config_dump?proxy=POD.NAMESPACE what that proxy was sent and what it accepted\
    <li><a href=/debug/uninjectedz>/debug/uninjectedz</a> pods that should have a sidecar and have \
    none (with an API server)</ul>";

/// All endpoints. What is under `/debug` answers only where it may be asked from.
pub(crate) fn router(
    parts: &Parts,
    cluster: Option<Arc<kubernetes::Views>>,
    guards: Arc<Guards>,
    from: DebugFrom,
) -> Router {
    let views = Views {
        hub: parts.hub.clone(),
        injector: parts.injector.clone(),
        serving: parts.serving.clone(),
        issuer: parts.issuer.clone(),
        health: parts.health.clone(),
        cluster,
        guards,
    };
    let debug = Router::new()
        .route("/debug/registryz", get(registryz))
        .route("/debug/endpointz", get(endpointz))
        .route("/debug/configz", get(configz))
        .route("/debug/watchz", get(watchz))
        .route("/debug/syncz", get(syncz))
        .route("/debug/connections", get(connections))
        .route("/debug/config_dump", get(config_dump))
        .route("/debug/uninjectedz", get(uninjectedz))
        .route_layer(middleware::from_fn_with_state(from, access::check));
    Router::new()
        .route("/", get(|| async { Html(INDEX) }))
        .route("/debug", get(|| async { Html(INDEX) }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .merge(debug)
        .with_state(Arc::new(views))
}

async fn ready(State(views): Shared) -> (StatusCode, String) {
    let mut reasons = views.health.reasons();
    if !views.hub.is_synced() {
        reasons.push(match &views.cluster {
            Some(cluster) => format!("registry: not read yet{}", cluster.unread()),
            None => "the registry was not read yet".to_owned(),
        });
    }
    if reasons.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let text = reasons
        .iter()
        .map(|reason| format!("not ready: {reason}\n"));
    (StatusCode::SERVICE_UNAVAILABLE, text.collect())
}

async fn metrics(State(views): Shared) -> Response {
    let mut text = metrics::page(&views.hub, views.watches());
    text.push_str(&metrics::certificates(&views.serving, &views.issuer));
    text.push_str(&metrics::connections(&views.guards));
    views.injector.metrics().write_prometheus(&mut text);
    if let Some(cluster) = &views.cluster {
        cluster.write_prometheus(&mut text);
    }
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn registryz(State(views): Shared, Query(filter): Query<Filter>) -> Response {
    Json(registry::services(&snapshot(&views), &filter)).into_response()
}

async fn endpointz(State(views): Shared, Query(filter): Query<Filter>) -> Response {
    Json(registry::endpoints(&snapshot(&views), &filter)).into_response()
}

async fn configz(State(views): Shared) -> Response {
    Json(registry::resources(
        &snapshot(&views),
        &views.hub.generator(),
    ))
    .into_response()
}

async fn watchz(State(views): Shared) -> Response {
    Json(watches::view(views.watches(), &snapshot(&views))).into_response()
}

async fn syncz(State(views): Shared, Query(wanted): Query<Wanted>) -> Response {
    let mut status = views.hub.summary();
    status.clients.retain(|client| wanted.fits(&client.node));
    Json(status).into_response()
}

async fn connections(State(views): Shared, Query(wanted): Query<Wanted>) -> Response {
    Json(clients::connections(&views.hub, &wanted)).into_response()
}

async fn config_dump(State(views): Shared, Query(wanted): Query<Wanted>) -> Response {
    match clients::dump(&views.hub, &wanted) {
        Ok(dump) => Json(dump).into_response(),
        Err((status, reason)) => (status, reason).into_response(),
    }
}

async fn uninjectedz(State(views): Shared) -> Response {
    match &views.cluster {
        Some(cluster) => Json(cluster.uninjected()).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no API server\n").into_response(),
    }
}

fn snapshot(views: &Views) -> Arc<Snapshot> {
    views.hub.snapshot().unwrap_or_default()
}
