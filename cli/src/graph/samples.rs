//! Samples of Prometheus' text format, as sidecars print them.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::collections::BTreeMap;

/// One line.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// The samples of a page; what is none is passed over.
pub(super) fn samples(page: &str) -> impl Iterator<Item = Sample> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(sample)
}

fn sample(line: &str) -> Option<Sample> {
    let (name, mut rest) = line.split_once('{')?;
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (label, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(label.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: rest[1..].trim().parse().ok()?,
    })
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_samples_whatever_their_labels_say() {
        let page =
            "# HELP a x\na{b=\"c\",d=\"e\\\"f,g}\\\\h\\n\"} 4.5\na{} 1\nnonsense\na{b=\"c 1\n";
        let found: Vec<Sample> = samples(page).collect();
        let labels = [("b", "c"), ("d", "e\"f,g}\\h\n")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].value), ("a", 4.5));
        assert_eq!(found[0].labels, BTreeMap::from(labels));
        assert_eq!((found[1].labels.len(), found[1].value), (0, 1.0));
    }
}
