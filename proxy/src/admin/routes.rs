//! The paths, what each takes, and who answers.

use std::net::SocketAddr;

use http::{Method, StatusCode, request::Parts};

use super::{
    Admin, Face, certs, clusters, config_dump, connections, control, explain, flows, guard,
};
use super::{help, listeners, query::Query, reply::Reply, runtime, server_info, stats};

/// A path of the admin interface.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) help: &'static str,
    /// Names of the query parameters, and what they do.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    handler: fn(&Admin, &Query) -> Reply,
}

/// Whether a path changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// GET or HEAD.
    Read,
    /// POST.
    Change,
}

/// In the order of `/help`.
pub(super) const ROUTES: &[Route] = &[
    read("/", "admin home page", &[], help::home),
    read("/certs", "certificates in use", &[], certs::print),
    read(
        "/clusters",
        "clusters and their endpoints",
        clusters::PARAMETERS,
        clusters::print,
    ),
    read(
        "/config_dump",
        "configuration in force",
        config_dump::PARAMETERS,
        config_dump::print,
    ),
    read(
        "/connections",
        "the last connections of each worker, newest last",
        connections::PARAMETERS,
        connections::print,
    ),
    Route {
        path: "/drain_listeners",
        access: Access::Change,
        help: "tell clients to go elsewhere; connections are still accepted",
        parameters: control::DRAIN_PARAMETERS,
        handler: control::drain_listeners,
    },
    read(
        "/explain",
        "the decision for a destination, from listener to endpoint",
        explain::PARAMETERS,
        explain::print,
    ),
    read(
        "/flows",
        "who did what at this pod in the last minutes, as JSON",
        &[],
        flows::print,
    ),
    read(
        "/help",
        "print out list of admin commands",
        &[],
        help::print,
    ),
    read(
        "/listeners",
        "listeners in force",
        listeners::PARAMETERS,
        listeners::print,
    ),
    Route {
        path: "/logging",
        access: Access::Change,
        help: "change the log filter",
        parameters: control::LOGGING_PARAMETERS,
        handler: control::logging,
    },
    read("/memory", "memory of the process", &[], server_info::memory),
    read(
        "/ready",
        "200 if live, else 503 and the state",
        &[],
        server_info::ready,
    ),
    Route {
        path: "/reopen_logs",
        access: Access::Change,
        help: "reopen access logs",
        parameters: &[],
        handler: control::reopen_logs,
    },
    read("/runtime", "print runtime values", &[], runtime::print),
    Route {
        path: "/runtime_modify",
        access: Access::Change,
        help: "add, change or remove runtime values of the admin layer",
        parameters: runtime::MODIFY_PARAMETERS,
        handler: runtime::modify,
    },
    read(
        "/server_info",
        "version, state and options",
        &[],
        server_info::print,
    ),
    read("/stats", "server stats", stats::PARAMETERS, stats::print),
    read(
        "/stats/prometheus",
        "server stats in the Prometheus text format",
        stats::PROMETHEUS_PARAMETERS,
        stats::prometheus,
    ),
];

const READY: Route = read(
    weir_api::sidecar::READY_PATH,
    "200 if live, else 503 and the state",
    &[],
    server_info::ready,
);

const fn read(
    path: &'static str,
    help: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    handler: fn(&Admin, &Query) -> Reply,
) -> Route {
    Route {
        path,
        access: Access::Read,
        help,
        parameters,
        handler,
    }
}

/// Answers one request that came to `face`.
pub(super) fn answer(admin: &Admin, face: Face, local: Option<SocketAddr>, head: &Parts) -> Reply {
    if face == Face::Admin
        && let Some(reason) = guard::refusal(head, local)
    {
        return Reply::error(StatusCode::FORBIDDEN, reason + "\n");
    }
    let Some(route) = find(face, head.uri.path()) else {
        let help = match face {
            Face::Admin => format!("invalid path. {}", help::text()),
            _ => "not found\n".to_owned(),
        };
        return Reply::error(StatusCode::NOT_FOUND, help);
    };
    let (allowed, needed) = match route.access {
        Access::Read => (matches!(head.method, Method::GET | Method::HEAD), "GET"),
        Access::Change => (head.method == Method::POST, "POST"),
    };
    if !allowed {
        let refusal = format!("Method {} not allowed, {needed} required.", head.method);
        return Reply::error(StatusCode::METHOD_NOT_ALLOWED, refusal);
    }
    let query = Query::parse(head.uri.query().unwrap_or_default());
    if let Some(unknown) = query.unknown(route.parameters) {
        let refusal = format!(
            "{}: query parameter {unknown:?} is not supported\n",
            route.path
        );
        return Reply::error(StatusCode::BAD_REQUEST, refusal);
    }
    (route.handler)(admin, &query)
}

fn find(face: Face, path: &str) -> Option<&'static Route> {
    let scrape = path == "/stats/prometheus";
    let ready = path == READY.path;
    let known = || ROUTES.iter().find(|route| route.path == path);
    match face {
        Face::Admin => known(),
        Face::Prometheus | Face::Status if scrape => known(),
        Face::Readiness | Face::Status if ready => Some(&READY),
        _ => None,
    }
}
