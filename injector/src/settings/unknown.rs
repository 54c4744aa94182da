//! Labels and annotations with our prefix that mean nothing, and what was probably meant.

use weir_api::annotations::{self as names, KNOWN, PREFIX};

use crate::{
    admission::{WARNING_BYTES, cut},
    pod::Pod,
};

/// How alike two names must be, from 0 to 1, for one to be suggested for the other. Finds a
/// missing plural, a dropped or a swapped letter and a left out word; not a random pair.
const ALIKE: f64 = 0.65;

/// Longest name, behind the prefix, that Kubernetes takes. A longer one is a mistake of another kind, and
/// the time to compare grows with the square of it.
const NAME_BYTES: usize = 63;
/// Names of one pod that are warned of: more than an answer has room for.
const NAMED: usize = 64;
/// Those of them that are compared with what is known.
const COMPARED: usize = 16;

/// A warning for each, up to a number that no answer has room for.
pub(crate) fn unknown(pod: &Pod<'_>) -> Vec<String> {
    let ours = |key: &&&str| key.starts_with(PREFIX);
    let annotations = pod
        .annotations
        .keys()
        .filter(ours)
        .filter(|key| !KNOWN.contains(key));
    let annotations = annotations.take(NAMED).enumerate().map(|(at, key)| {
        let near = (at < COMPARED).then(|| nearest(key, &KNOWN)).flatten();
        let meant = near.map(|near| format!("; did you mean {near}?"));
        let key = cut(key, WARNING_BYTES);
        format!("annotation {key:?} is unknown{}", meant.unwrap_or_default())
    });
    let labels = pod
        .labels
        .keys()
        .filter(ours)
        .filter_map(|key| misplaced_label(cut(key, WARNING_BYTES)));
    annotations.chain(labels.take(NAMED)).collect()
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
    if bare(key).len() > NAME_BYTES {
        return None;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_up_to_the_length_that_kubernetes_takes() {
        for (length, found) in [(0, true), (1, true), (60, false), (3 << 20, false)] {
            let key = format!("{PREFIX}proxy-cpu{}", "s".repeat(length));
            assert_eq!(nearest(&key, &KNOWN).is_some(), found, "{length}");
        }
    }
}
