//! `status.parents` of a route.

use std::time::SystemTime;

use kube::api::DynamicObject;
use serde_json::{Value, json};
use weir_discovery::rules::gateway::{
    CONDITIONS, CONTROLLER_NAME as CONTROLLER, Condition, Verdict,
};

/// What stands there with our entries as they should be, if that is something else. None also where a
/// newer version of the route has been judged already.
pub(super) fn wanted(
    route: &DynamicObject,
    verdicts: &[Verdict],
    now: SystemTime,
) -> Option<Vec<Value>> {
    let generation = route.metadata.generation.unwrap_or_default();
    let present = route.data["status"]["parents"].as_array();
    let present: &[Value] = present.map_or(&[], Vec::as_slice);
    let is_ours = |entry: &&Value| entry["controllerName"] == CONTROLLER;
    let conditions = present.iter().filter(is_ours).flat_map(conditions_of);
    let observed = conditions.filter_map(|it| it["observedGeneration"].as_i64());
    if observed.max() > Some(generation) {
        return None;
    }
    let refs = |index: usize| &route.data["spec"]["parentRefs"][index];
    let mut left: Vec<&Verdict> = verdicts.iter().collect();
    let mut wanted = Vec::new();
    for entry in present {
        if !is_ours(&entry) {
            wanted.push(entry.clone());
            continue;
        }
        let about = |it: &&Verdict| entry["parentRef"] == *refs(it.index);
        // An entry about a parent that is none any more goes.
        if let Some(place) = left.iter().position(about) {
            let verdict = left.remove(place);
            wanted.push(said(refs(verdict.index), verdict, entry, generation, now));
        }
    }
    let new = left.into_iter();
    let new = new.map(|it| said(refs(it.index), it, &Value::Null, generation, now));
    wanted.extend(new);
    (wanted != present).then_some(wanted)
}

/// An entry of ours, given the one that stands there.
fn said(
    parent: &Value,
    verdict: &Verdict,
    before: &Value,
    generation: i64,
    now: SystemTime,
) -> Value {
    let ours = |it: &&Value| CONDITIONS.iter().any(|kind| it["type"] == *kind);
    let others = conditions_of(before).filter(|it| !ours(it)).cloned();
    let said = verdict.conditions.iter();
    let said = said.map(|it| condition(it, before, generation, now));
    json!({
        "parentRef": parent,
        "controllerName": CONTROLLER,
        "conditions": said.chain(others).collect::<Vec<_>>(),
    })
}

fn condition(said: &Condition, before: &Value, generation: i64, now: SystemTime) -> Value {
    let status = if said.holds { "True" } else { "False" };
    let before = conditions_of(before).find(|it| it["type"] == said.kind && it["status"] == status);
    let since = before.and_then(|it| it["lastTransitionTime"].as_str());
    let since = since.map_or_else(|| written(now), str::to_owned);
    json!({
        "type": said.kind,
        "status": status,
        "reason": said.reason,
        "message": said.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    })
}

fn conditions_of(entry: &Value) -> impl Iterator<Item = &Value> {
    entry["conditions"].as_array().into_iter().flatten()
}

/// A time as Kubernetes writes it, in whole seconds.
fn written(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
