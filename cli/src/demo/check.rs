//! Whether a call did what it should. What is missing or wrong comes out as a sentence each.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_playground::cluster::PodKey;

use super::{
    observe::{Record, Stats, v4},
    plan::{Call, Expected},
    world::World,
};
use crate::call::Outcome;

/// By how much each statistic of each sidecar has grown.
pub(super) fn grown(
    before: &BTreeMap<PodKey, Stats>,
    after: &BTreeMap<PodKey, Stats>,
) -> BTreeMap<PodKey, Stats> {
    let none = Stats::new();
    after
        .iter()
        .map(|(key, stats)| {
            let before = before.get(key).unwrap_or(&none);
            let grown = stats.iter().filter_map(|(name, value)| {
                let more = value.saturating_sub(before.get(name).copied().unwrap_or_default());
                (more > 0).then(|| (name.clone(), more))
            });
            (key.clone(), grown.collect())
        })
        .collect()
}

/// What was not as it should be.
pub(super) fn faults(
    world: &World,
    call: &Call,
    outcome: &Outcome,
    record: Option<&Record>,
    grown: &BTreeMap<PodKey, Stats>,
) -> Vec<String> {
    let expected = &call.expected;
    let mut faults = answer(expected, outcome);
    let counted = |key: &PodKey, cluster: &str| {
        let stats = grown.get(key);
        ["upstream_cx_total", "upstream_rq_total"]
            .iter()
            .any(|stat| {
                stats.is_some_and(|stats| stats.contains_key(&format!("cluster.{cluster}.{stat}")))
            })
    };
    if let Some(cluster) = &expected.outbound
        && !counted(&call.from, cluster)
    {
        faults.push(format!(
            "the caller's sidecar counted nothing for cluster {cluster}"
        ));
    }
    if !expected.inbound.is_empty()
        && !expected
            .inbound
            .iter()
            .any(|(key, cluster)| counted(key, cluster))
    {
        let (_, cluster) = &expected.inbound[0];
        faults.push(format!(
            "no sidecar behind the Service counted anything for cluster {cluster}"
        ));
    }
    let in_mesh = world.pod(&call.from).is_some_and(|pod| pod.meshed);
    if in_mesh
        && expected.outbound.is_none()
        && !expected.refused
        && grown_outbound(grown.get(&call.from))
    {
        faults.push("the sidecar counted a connection that is none of its business".to_owned());
    }
    if let Some(record) =
        record.filter(|record| expected.outbound.is_some() && record.direction == "outbound")
    {
        faults.extend(recorded(expected, record));
    }
    faults
}

/// What the client saw.
fn answer(expected: &Expected, outcome: &Outcome) -> Vec<String> {
    let mut faults = Vec::new();
    if expected.refused && expected.status.is_none() {
        if !outcome
            .error
            .as_ref()
            .is_some_and(|error| error.contains("Connection refused"))
        {
            faults.push("the connection was not refused".to_owned());
        }
        return faults;
    }
    if expected.refused && outcome.reason.is_none() {
        faults.push("the sidecar gave no reason".to_owned());
    }
    if let Some(error) = &outcome.error {
        // Nobody knows what a foreign application answers; that it was reached is enough.
        if expected.answer_from.is_some()
            || error.starts_with("cannot call")
            || error.starts_with("cannot connect")
            || error.starts_with("cannot resolve")
        {
            faults.push(error.clone());
        }
        return faults;
    }
    if let Some(status) = expected.status
        && outcome.status != Some(status)
    {
        let got = outcome
            .status
            .map_or("none".to_owned(), |status| status.to_string());
        let reason = outcome
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(" ({reason})"));
        faults.push(format!("status {got}{reason} instead of {status}"));
    }
    if let Some(pods) = &expected.answer_from {
        let got = outcome
            .answer
            .get("pod")
            .and_then(Value::as_str)
            .unwrap_or("nobody who says so");
        if !pods.iter().any(|pod| pod == got) {
            faults.push(format!(
                "answered by {got} instead of {}",
                pods.join(" or ")
            ));
        }
    }
    if let Some(name) = &expected.sni {
        let got = outcome.answer.pointer("/tls/sni").and_then(Value::as_str);
        if got != Some(name) {
            faults.push(format!(
                "the application saw server name {got:?} instead of {name}"
            ));
        }
    }
    faults
}

/// What the caller's sidecar says it did.
fn recorded(expected: &Expected, record: &Record) -> Vec<String> {
    let mut faults = Vec::new();
    if let (Some(wanted), Some(got)) = (&expected.outbound, &record.cluster)
        && wanted != got
    {
        faults.push(format!(
            "the sidecar chose cluster {got} instead of {wanted}"
        ));
    }
    if let Some(got) = record.upstream_host.and_then(v4)
        && !expected.endpoints.is_empty()
        && !expected.endpoints.contains(&got)
    {
        faults.push(format!("the sidecar sent it to {got}"));
    }
    if let Some(got) = record.filter_chain.as_deref()
        && !expected.filter_chain.is_empty()
        && got != expected.filter_chain
    {
        faults.push(format!(
            "the sidecar took filter chain {got} instead of {}",
            expected.filter_chain
        ));
    }
    faults
}

fn grown_outbound(stats: Option<&Stats>) -> bool {
    let is_outbound = |name: &String| {
        (name.starts_with("cluster.outbound|") || name.starts_with("cluster.PassthroughCluster"))
            && (name.ends_with(".upstream_cx_total") || name.ends_with(".upstream_rq_total"))
    };
    stats.is_some_and(|stats| stats.keys().any(is_outbound))
}

#[cfg(test)]
mod tests;
