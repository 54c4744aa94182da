//! `/` and `/help`.

use std::fmt::Write as _;

use super::{
    Admin,
    query::Query,
    reply::Reply,
    routes::{Access, ROUTES},
};

/// `/help`
pub(super) fn print(_: &Admin, _: &Query) -> Reply {
    Reply::text(text())
}

/// Every path with its parameters, as Envoy prints them.
pub(super) fn text() -> String {
    let mut text = "admin commands are:\n".to_owned();
    for route in ROUTES {
        let post = if route.access == Access::Change {
            " (POST)"
        } else {
            ""
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}{post}: {}", route.path, route.help);
        for (name, help) in route.parameters {
            let _ = writeln!(text, "      {name}: {help}");
        }
    }
    text
}

/// `/`
pub(super) fn home(_: &Admin, _: &Query) -> Reply {
    let mut rows = String::new();
    for route in ROUTES.iter().filter(|route| route.path != "/") {
        let name = &route.path[1..];
        // Changes are refused from a page, so they are no links.
        let _ = match route.access {
            Access::Read => write!(rows, "<tr><td><a href=\"{name}\">{name}</a></td>"),
            Access::Change => write!(rows, "<tr><td>{name} (POST)</td>"),
        };
        let _ = writeln!(rows, "<td>{}</td></tr>", route.help);
    }
    Reply::html(format!(
        "<!doctype html>\n<title>Weir admin</title>\n<h1>Weir</h1>\n<table>\n{rows}</table>\n"
    ))
}
