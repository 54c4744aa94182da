//! What changes the running process. POST only.

use http::StatusCode;

use super::{Admin, query::Query, reply::Reply};

pub(super) const DRAIN_PARAMETERS: &[(&str, &str)] = &[
    (
        "graceful",
        "draining is always graceful; accepted for Envoy's sake",
    ),
    ("inboundonly", "drain listeners of direction INBOUND only"),
    (
        "skip_exit",
        "the process never ends by itself; accepted for Envoy's sake",
    ),
];

pub(super) const LOGGING_PARAMETERS: &[(&str, &str)] = &[
    (
        "level",
        "one level for everything: error, warn, info, debug or trace",
    ),
    ("filter", "a filter such as info,weir_proxy::xds=debug"),
];

/// `/drain_listeners`
pub(super) fn drain_listeners(admin: &Admin, query: &Query) -> Reply {
    admin.handle.drain(query.has("inboundonly"));
    Reply::text("OK\n")
}

/// `/reopen_logs`
pub(super) fn reopen_logs(admin: &Admin, _: &Query) -> Reply {
    admin.handle.reopen_logs();
    Reply::text("OK\n")
}

/// `/logging`
pub(super) fn logging(admin: &Admin, query: &Query) -> Reply {
    let bad = |reason: String| Reply::error(StatusCode::BAD_REQUEST, reason + "\n");
    let Some(filter) = query.get("level").or_else(|| query.get("filter")) else {
        return bad("usage: /logging?level=LEVEL or /logging?filter=FILTER".to_owned());
    };
    let Some(reload) = &admin.log_filter else {
        return bad("this process cannot change its log filter".to_owned());
    };
    match (reload.0)(filter) {
        Ok(()) => Reply::text("OK\n"),
        Err(reason) => bad(format!("{filter:?}: {reason}")),
    }
}
