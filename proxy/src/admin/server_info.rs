//! `/server_info`, `/ready`, `/memory`.

use http::StatusCode;
use serde_json::{Value, json};
use weir_api::xds::{codec, json as text};

use super::{Admin, State, query::Query, reply::Reply};
use crate::server_stats::Memory;

/// `/server_info`: `envoy.admin.v3.ServerInfo`.
pub(super) fn print(admin: &Admin, _: &Query) -> Reply {
    let uptime = format!("{}s", admin.stats.uptime().as_secs());
    let build = if cfg!(debug_assertions) {
        "DEBUG"
    } else {
        "RELEASE"
    };
    let node = text::to_json(&codec::pack_bootstrap(&admin.source))
        .get_mut("node")
        .map_or_else(|| json!({}), Value::take);
    Reply::json(&json!({
        "version": format!("weir/{}/{build}", env!("CARGO_PKG_VERSION")),
        "state": admin.state().name(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": {
            "concurrency": admin.concurrency,
            "config_path": admin.config_path,
            "mode": "Serve",
        },
        "node": node,
    }))
}

/// `/ready`
pub(super) fn ready(admin: &Admin, _: &Query) -> Reply {
    let state = admin.state();
    let mut line = format!("{}\n", state.name());
    match admin.handle.panics() {
        0 => {}
        1 => line.push_str("1 panic contained since the start; the log has its backtrace\n"),
        n => line.push_str(&format!(
            "{n} panics contained since the start; the log has their backtraces\n"
        )),
    }
    for note in &admin.notes {
        let note = note.borrow();
        line.extend(note.lines().flat_map(|text| [text, "\n"]));
    }
    match state {
        State::Live => Reply::text(line),
        State::Draining | State::PreInitializing => {
            Reply::error(StatusCode::SERVICE_UNAVAILABLE, line)
        }
    }
}

/// `/memory`: `envoy.admin.v3.Memory`, of which the kernel knows these.
pub(super) fn memory(_: &Admin, _: &Query) -> Reply {
    let Memory { physical, private } = Memory::read();
    Reply::json(&json!({
        "allocated": private.to_string(),
        "heap_size": private.to_string(),
        "total_physical_bytes": physical.to_string(),
    }))
}
