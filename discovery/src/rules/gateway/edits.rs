//! Changes of headers.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{fault::Faults, wire};
pub(in crate::rules) use crate::header::{is_token, is_value};
use crate::{model::HeaderEdits, rules::Place};

/// Fields that are not to be changed here: what frames a message is written for each hop, and the host
/// is a matter of its own.
pub(in crate::rules) const FIXED: [&str; 5] = [
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
];

/// The changes that a filter makes.
pub(super) fn edits(
    at: &str,
    said: &wire::HeaderModifier,
    place: &Place<'_>,
    faults: &mut Faults,
) -> HeaderEdits {
    let mut seen = BTreeSet::new();
    let mut name = |at: &str, name: &str, faults: &mut Faults| -> Option<Arc<str>> {
        let name = header_name(at, name, faults)?;
        if FIXED.contains(&name.as_str()) {
            let reason = format!(
                "{name} cannot be changed like this: use URLRewrite for the host, and leave others alone"
            );
            faults.unsupported(at, reason);
        }
        if !seen.insert(name.clone()) {
            faults.malformed(at, format!("{name} is named twice: change it once"));
        }
        Some(place.names.text(&name))
    };
    let mut headers = |field: &str, list: &Option<Vec<wire::Header>>, faults: &mut Faults| {
        let list = list.iter().flatten().enumerate();
        let list = list.filter_map(|(index, header)| {
            let at = format!("{at}.{field}[{index}]");
            let named = name(&format!("{at}.name"), &header.name, faults)?;
            check_value(&format!("{at}.value"), &header.value, faults);
            Some((named, place.names.text(&header.value)))
        });
        list.collect::<Vec<_>>()
    };
    let (set, add) = (
        headers("set", &said.set, faults),
        headers("add", &said.add, faults),
    );
    let remove = said.remove.iter().flatten().enumerate();
    let remove =
        remove.filter_map(|(index, text)| name(&format!("{at}.remove[{index}]"), text, faults));
    HeaderEdits {
        remove: remove.collect(),
        set,
        add,
    }
}

/// A header's name in lower case, if it is one.
pub(super) fn header_name(at: &str, name: &str, faults: &mut Faults) -> Option<String> {
    if !is_token(name) {
        faults.malformed(at, format!("{name:?} is no name of a header: write one"));
        return None;
    }
    Some(name.to_ascii_lowercase())
}

fn check_value(at: &str, value: &str, faults: &mut Faults) {
    if !is_value(value) {
        let reason = "is no value of a header: write printable ASCII, without line ends";
        faults.malformed(at, reason);
    }
}

/// Of each type that changes something there is one filter.
pub(super) fn once(at: &str, filters: &Option<Vec<Value>>, faults: &mut Faults) {
    const REPEATED: [&str; 2] = ["RequestMirror", "ExtensionRef"];

    let mut seen = BTreeSet::new();
    let kinds = filters
        .iter()
        .flatten()
        .filter_map(|it| it["type"].as_str());
    for kind in kinds.filter(|kind| !REPEATED.contains(kind)) {
        if !seen.insert(kind) {
            let reason = format!("has more than one {kind}: write one");
            faults.malformed(&format!("{at}.filters"), reason);
        }
    }
}
