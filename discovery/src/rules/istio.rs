//! What Istio's kinds of `networking.istio.io` have in common: hosts, to whom rules are exported, durations.

mod duration;
mod host;

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

pub(super) use duration::Span;
pub(super) use host::{Host, MOST, service};

use super::{Findings, Place};
use crate::model::Exports;

/// The API group.
pub(super) const GROUP: &str = "networking.istio.io";
/// Versions in which its kinds are written. They mean the same.
pub(super) const VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];

/// To callers in which namespaces a rule is exported. Without a list, to all.
pub(super) fn exports(
    said: Option<&Vec<String>>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Exports {
    let Some(said) = said.filter(|it| !it.is_empty()) else {
        return Exports::All;
    };
    let mut to: BTreeSet<Arc<str>> = BTreeSet::new();
    for (index, namespace) in said.iter().enumerate() {
        match namespace.as_str() {
            "*" => {
                if said.len() > 1 {
                    let reason = "* is all namespaces: leave out the others";
                    findings.malformed(format!("spec.exportTo[{index}]"), reason);
                }
                return Exports::All;
            }
            "." => to.extend([place.names.text(place.namespace)]),
            "~" => {}
            name if is_label(name) => to.extend([place.names.text(name)]),
            other => findings.malformed(
                format!("spec.exportTo[{index}]"),
                format!("{other:?} is no namespace: write one, or . for the rule's own, or *"),
            ),
        }
    }
    Exports::To(to)
}

/// Fields that are known and not honoured, whatever they say. `instead` is what is done.
pub(super) fn refuse(
    at: &str,
    fields: &[(&str, &Option<Value>)],
    instead: &str,
    findings: &mut Findings,
) {
    for (name, value) in fields {
        if let Some(value) = value {
            let value = shortened(&value.to_string());
            findings.warned(
                format!("{at}.{name}"),
                format!("{value} is not honoured here: leave it out; {instead}"),
            );
        }
    }
}

/// A value as an answer has room for it.
fn shortened(value: &str) -> String {
    const MOST: usize = 80;

    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

/// Whether a text is a label of DNS.
pub(super) fn is_label(text: &str) -> bool {
    const MOST: usize = 63;

    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
