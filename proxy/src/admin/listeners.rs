//! `/listeners`

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::{Admin, query::Query, reply::Reply};
use crate::{
    config::Listener,
    snapshot::{Destination, Snapshot},
};

pub(super) const PARAMETERS: &[(&str, &str)] = &[("format", "text or json")];

/// `/listeners`
pub(super) fn print(admin: &Admin, query: &Query) -> Reply {
    let snapshot = admin.handle.snapshot();
    let bound = snapshot.listeners.values();
    let bound = bound.map(|bound| (bound.listener.name.as_str(), bound.local_address()));
    let unbound = admin.destinations(&snapshot);
    let unbound = unbound.map(|listener| (listener.name.as_str(), listener.address));
    let mut all: Vec<(&str, SocketAddr)> = bound.chain(unbound).collect();
    all.sort_unstable();
    match query.get("format").unwrap_or("text") {
        "json" => {
            let status = |(name, address): (&str, SocketAddr)| json!({ "name": name, "local_address": socket_address(address) });
            let statuses: Vec<Json> = all.into_iter().map(status).collect();
            Reply::json(&json!({ "listener_statuses": statuses }))
        }
        "text" | "" => {
            let mut text = String::new();
            for (name, address) in all {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{name}::{address}");
            }
            Reply::text(text)
        }
        other => Reply::error(
            StatusCode::BAD_REQUEST,
            format!("format {other:?} is not text or json\n"),
        ),
    }
}

/// `envoy.config.core.v3.Address`
pub(super) fn socket_address(address: SocketAddr) -> Json {
    json!({ "socket_address": {
        "address": address.ip().to_string(),
        "port_value": address.port(),
    }})
}

impl Admin {
    /// Listeners without sockets.
    pub(super) fn destinations<'a>(
        &self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = &'a Arc<Listener>> + use<'a> {
        let present = |destination: &'a Destination| match destination {
            Destination::Present(present) => Some(&present.listener),
            Destination::Absent => None,
        };
        snapshot.destinations.values().filter_map(present)
    }
}
