//! Labels and annotations with our prefix that mean nothing, and what was probably meant.

use weir_api::annotations::{self as names, KNOWN, PREFIX};

use crate::pod::Pod;

/// How alike two names must be, from 0 to 1, for one to be suggested for the other. Finds a
/// missing plural, a dropped or a swapped letter and a left out word; not a random pair.
const ALIKE: f64 = 0.65;

/// A warning for each.
pub(crate) fn unknown(pod: &Pod<'_>) -> Vec<String> {
    let ours = |key: &&&str| key.starts_with(PREFIX);
    let annotations = pod
        .annotations
        .keys()
        .filter(ours)
        .filter(|key| !KNOWN.contains(key));
    let annotations = annotations.map(|key| {
        let meant = nearest(key, &KNOWN).map(|near| format!("; did you mean {near}?"));
        format!("annotation {key:?} is unknown{}", meant.unwrap_or_default())
    });
    let labels = pod
        .labels
        .keys()
        .filter(ours)
        .filter_map(|key| misplaced_label(key));
    annotations.chain(labels).collect()
}

fn misplaced_label(key: &str) -> Option<String> {
    match key {
        names::INJECT | names::REVISION => None,
        names::NAMESPACE_INJECTION => Some(format!(
            "label {key} is for namespaces and means nothing on a pod; did you mean {}?",
            names::INJECT
        )),
        key if KNOWN.contains(&key) => Some(format!(
            "{key} is an annotation and means nothing as a label"
        )),
        key => Some(format!("label {key:?} is unknown")),
    }
}

/// The known name that is most like this one, if one is.
pub(crate) fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(bare(key), bare(known));
    known
        .iter()
        .map(|known| (likeness(known), *known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn bare(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}
