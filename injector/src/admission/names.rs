//! What Kubernetes takes for a name. A name becomes part of paths and of other names, so nothing else may
//! pass for one.

/// Longest name of an object.
const NAME_BYTES: usize = 253;
/// Longest label of a DNS name.
const LABEL_BYTES: usize = 63;

/// Whether it may be the name of a namespace: a label of RFC 1123.
pub(super) fn is_label(name: &str) -> bool {
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let fits = (1..=LABEL_BYTES).contains(&name.len());
    fits && name.bytes().all(known) && !name.starts_with('-') && !name.ends_with('-')
}

/// Whether it may be the name of an object of any kind: one segment of a path.
pub(super) fn is_segment(name: &str) -> bool {
    let fits = (1..=NAME_BYTES).contains(&name.len()) && name != "." && name != "..";
    fits && name
        .chars()
        .all(|c| c.is_ascii_graphic() && !"/%?#".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        let long = "a".repeat(64);
        for (name, label, segment) in [
            ("shop", true, true),
            ("kube-system", true, true),
            ("9", true, true),
            ("system:node", false, true),
            ("web.shop", false, true),
            ("Shop", false, true),
            ("-shop", false, true),
            (&long, false, true),
            ("", false, false),
            ("..", false, false),
            ("kube-system/secrets/foo?x=", false, false),
            ("shop?x", false, false),
            ("shop%2f", false, false),
            ("shop#", false, false),
            ("sh op", false, false),
            ("sh\u{e4}p", false, false),
            (&"a".repeat(254), false, false),
        ] {
            assert_eq!(
                (is_label(name), is_segment(name)),
                (label, segment),
                "{name}"
            );
        }
    }
}
