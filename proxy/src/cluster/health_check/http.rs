//! HTTP checks.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{
    client::{Ask, Client, Payload},
    payload::Search,
    probe::{Context, MAX_ANSWER},
    session::{Failure, FailureKind, Verdict},
};
use crate::{cluster::health::CheckTarget, config::health_check::HttpCheck};

/// What Envoy's checks call themselves, which applications may go by.
pub(super) const USER_AGENT: &str = "Envoy/HC";
const IMMEDIATE_FAIL: &str = "x-envoy-immediate-health-check-fail";
const DEGRADED: &str = "x-envoy-degraded";
const CHECKED_CLUSTER: &str = "x-envoy-upstream-healthchecked-cluster";

/// Asks once, on `kept` or on a new connection, which is then kept if the next check may use it.
pub(super) async fn check(
    check: &HttpCheck,
    context: &Context,
    target: &CheckTarget,
    kept: &mut Option<Client>,
) -> Verdict {
    let network = Verdict::Failure(Failure::of(FailureKind::Network));
    let Some(mut client) = ready(kept.take(), context, target, check.is_http2).await else {
        return network;
    };
    let ask = Ask {
        method: check.method,
        authority: context.authority(target, check.host.as_deref()),
        path: &check.path,
        is_http2: check.is_http2,
        is_tls: context.sockets.is_tls(context.said(target)),
        headers: &[("user-agent", USER_AGENT)],
        changes: &check.headers,
        body: Payload::measured(Bytes::copy_from_slice(&check.send)),
    };
    let Some(request) = ask.request() else {
        return network;
    };
    let answered = match client.send(request).await {
        Ok(response) => read(check, response).await,
        Err(_) => None,
    };
    let Some((status, headers, is_found)) = answered else {
        return network;
    };
    if context.reuses_connection() {
        *kept = Some(client);
    }
    if check.service_name.is_some() && is_found && is_in(&check.expected_statuses, status) {
        context.count_verified();
    }
    judge(check, status, &headers, is_found)
}

/// A connection that takes a request: the one that was kept, or a new one.
pub(super) async fn ready(
    kept: Option<Client>,
    context: &Context,
    target: &CheckTarget,
    is_http2: bool,
) -> Option<Client> {
    if let Some(mut client) = kept
        && client.is_ready().await
    {
        return Some(client);
    }
    Client::connect(context, target, is_http2).await
}

/// The whole response: its status, its headers, and whether what is wanted is in its body. None if it
/// does not end well.
async fn read(check: &HttpCheck, response: Response<Incoming>) -> Option<(u16, HeaderMap, bool)> {
    let (head, mut body) = response.into_parts();
    let mut search = Search::new(&check.receive);
    let mut looked_at = check.response_buffer_size.unwrap_or(u64::MAX);
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        total = total.saturating_add(data.len());
        if total > MAX_ANSWER {
            return None;
        }
        let length = data
            .len()
            .min(usize::try_from(looked_at).unwrap_or(usize::MAX));
        looked_at -= length as u64;
        if !search.is_found() {
            search.feed(&data[..length]);
        }
    }
    Some((head.status.as_u16(), head.headers, search.is_found()))
}

/// What a response says of its host.
fn judge(check: &HttpCheck, status: u16, headers: &HeaderMap, is_found: bool) -> Verdict {
    let fails = |is_retriable: bool| {
        Verdict::Failure(Failure {
            kind: FailureKind::Active,
            is_retriable,
            excludes: headers.contains_key(IMMEDIATE_FAIL),
            status,
        })
    };
    if !is_found {
        return fails(false);
    }
    if !is_in(&check.expected_statuses, status) {
        return fails(is_in(&check.retriable_statuses, status));
    }
    if let Some(matcher) = &check.service_name {
        let said = headers.get(CHECKED_CLUSTER);
        let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
        if !matcher.matches(said) {
            return Verdict::Failure(Failure {
                status,
                ..Failure::of(FailureKind::Active)
            });
        }
    }
    Verdict::Success {
        is_degraded: headers.contains_key(DEGRADED),
    }
}

fn is_in(ranges: &[Range<u16>], status: u16) -> bool {
    ranges.iter().any(|range| range.contains(&status))
}
