//! `/runtime` and `/runtime_modify`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Admin, query::Query, reply::Reply};
use crate::runtime::Runtime;

/// Longest key, and longest value, that is taken: people type them.
const MAX_LENGTH: usize = 1024;

pub(super) const MODIFY_PARAMETERS: &[(&str, &str)] = &[(
    "<key>",
    "the value; with an empty one the key is as the other layers have it",
)];

/// `/runtime`
pub(super) fn print(admin: &Admin, _: &Query) -> Reply {
    let snapshot = admin.handle.snapshot();
    let runtime = &snapshot.runtime;
    let names: Vec<&str> = runtime
        .layers()
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    let entries = runtime
        .keys()
        .into_iter()
        .map(|key| (key.to_owned(), entry(runtime, key)));
    let entries: Map<String, Value> = entries.collect();
    Reply::json(&json!({ "layers": names, "entries": entries }))
}

/// What each layer has under a key, and what counts: the last that is not empty.
fn entry(runtime: &Runtime, key: &str) -> Value {
    let texts = runtime.layers().iter().map(|layer| {
        let entry = layer.entries.get(key);
        entry.map_or("", |entry| entry.text.as_str())
    });
    let texts: Vec<&str> = texts.collect();
    let last = texts.iter().rfind(|text| !text.is_empty());
    json!({ "layer_values": texts, "final_value": last.copied().unwrap_or_default() })
}

/// `/runtime_modify`
pub(super) fn modify(admin: &Admin, query: &Query) -> Reply {
    if query.pairs().next().is_none() {
        let usage = "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n\
                     use an empty value to remove a previously added override\n";
        return Reply::error(StatusCode::BAD_REQUEST, usage);
    }
    let is_long = |(key, value): (&str, &str)| key.len().max(value.len()) > MAX_LENGTH;
    if query.pairs().any(is_long) {
        let refusal = format!("keys and values must be at most {MAX_LENGTH} bytes\n");
        return Reply::error(StatusCode::BAD_REQUEST, refusal);
    }
    let mut result = Ok(());
    admin.handle.publisher().modify(|snapshot| {
        match snapshot.runtime.with_overrides(query.pairs()) {
            Ok(runtime) => snapshot.runtime = Arc::new(runtime),
            Err(error) => result = Err(error),
        }
    });
    match result {
        Ok(()) => Reply::text("OK\n"),
        Err(error) => Reply::error(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}
