//! What the two have counted once they have answered the same requests.

use std::{collections::BTreeMap, net::SocketAddr};

use weir_tests::http;

use crate::proxies::Proxy;

/// Counters that must be equal.
const COUNTERS: &[&str] = &[
    "http.web.downstream_rq_1xx",
    "http.web.downstream_rq_2xx",
    "http.web.downstream_rq_3xx",
    "http.web.downstream_rq_4xx",
    "http.web.downstream_rq_5xx",
    "http.web.downstream_rq_total",
    "http.web.downstream_rq_idle_timeout",
    "http.web.no_route",
    "http.web.no_cluster",
    "http.web.rq_direct_response",
    "http.web.rq_redirect",
    "http.web.rq_total",
    "http.strict.downstream_rq_total",
    "http.strict.downstream_cx_max_requests_reached",
    "cluster.echo.upstream_rq_2xx",
    "cluster.echo.upstream_rq_3xx",
    "cluster.echo.upstream_rq_4xx",
    "cluster.echo.upstream_rq_5xx",
    "cluster.echo.upstream_rq_total",
    "cluster.echo.upstream_rq_timeout",
    "cluster.echo.upstream_rq_per_try_timeout",
    "cluster.echo.upstream_rq_retry",
    "cluster.echo.upstream_rq_retry_success",
    "cluster.echo.upstream_rq_retry_limit_exceeded",
    "cluster.echo.upstream_rq_retry_overflow",
    "cluster.refused.upstream_cx_connect_fail",
    "cluster.refused.upstream_rq_pending_failure_eject",
    "cluster.refused.upstream_rq_5xx",
    "cluster.refused.upstream_rq_total",
    "cluster.refused.upstream_rq_retry",
    "cluster.refused.upstream_rq_retry_limit_exceeded",
    "cluster.empty.upstream_cx_none_healthy",
    "cluster.empty.upstream_rq_5xx",
];

/// How much more than Envoy we count, and why.
const DIFFERENCES: &[(&str, i64, &str)] = &[
    ("http.web.downstream_rq_2xx", -1, TWO_HOSTS),
    ("http.web.downstream_rq_4xx", 1, TWO_HOSTS),
    ("cluster.echo.upstream_rq_total", -1, TWO_HOSTS),
    (
        "http.web.no_route",
        1,
        "CONNECT is no route there, and not counted as one",
    ),
    (
        "http.web.rq_total",
        1,
        "CONNECT and an upgrade that is refused do not get to the router there, two hosts do",
    ),
];

const TWO_HOSTS: &str = "a request with two Host headers is a bad one here, and forwarded there";

/// The counters that differ otherwise than expected, with both values.
pub(crate) fn compare(envoy: &Proxy, ours: &Proxy) -> Vec<String> {
    let (theirs, ours) = (read(envoy.admin()), read(ours.admin()));
    let value = |stats: &BTreeMap<String, i64>, name| stats.get(name).copied().unwrap_or(0);
    COUNTERS
        .iter()
        .filter_map(|name| {
            let (theirs, ours) = (value(&theirs, *name), value(&ours, *name));
            let expected = DIFFERENCES.iter().find(|(known, ..)| known == name);
            let expected = expected.map_or(0, |(_, more, _)| *more);
            (ours - theirs != expected).then(|| format!("{name}: {theirs}, {ours}"))
        })
        .collect()
}

pub(crate) fn read(admin: SocketAddr) -> BTreeMap<String, i64> {
    let page = http::get(admin, "/stats").expect("the admin interface");
    // Envoy's comes in chunks, whose sizes are no lines of it.
    page.body
        .lines()
        .filter_map(|line| line.rsplit_once(": "))
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
        .collect()
}
