//! Paths, and what becomes of them.

use super::{fault::Faults, wire};
use crate::{
    model::{PathChange, PathMatch},
    rules::Place,
};

/// A condition on a path.
pub(super) fn path_match(
    at: &str,
    said: Option<&wire::TypedValue>,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<PathMatch> {
    let kind = said
        .and_then(|it| it.kind.as_deref())
        .unwrap_or("PathPrefix");
    let value = said.and_then(|it| it.value.as_deref()).unwrap_or("/");
    let at_value = format!("{at}.value");
    let text = |text: &str| place.names.text(text);
    match kind {
        "Exact" => check(&at_value, value, faults).then(|| PathMatch::Exact(text(value))),
        "PathPrefix" => {
            let prefix = value.trim_end_matches('/');
            check(&at_value, value, faults).then(|| PathMatch::Prefix(text(prefix)))
        }
        "RegularExpression" => {
            regex(&at_value, value, faults).then(|| PathMatch::Regex(text(value)))
        }
        other => {
            let reason = format!("{other:?} is none of Exact, PathPrefix and RegularExpression");
            faults.unsupported(&format!("{at}.type"), reason);
            None
        }
    }
}

fn check(at: &str, path: &str, faults: &mut Faults) -> bool {
    const FORBIDDEN: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];

    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@%".contains(&byte);
    let good = path.starts_with('/')
        && path.bytes().all(is_allowed)
        && !FORBIDDEN.iter().any(|part| path.contains(part))
        && !path.ends_with("/.")
        && !path.ends_with("/..");
    if !good {
        let reason = format!(
            "{path:?} is no path that a request can have: begin it with a slash, without //, /./, /../, \
             %2f, queries and fragments"
        );
        faults.malformed(at, reason);
    }
    good
}

/// Whether a text is an expression that sidecars can take.
pub(super) fn regex(at: &str, text: &str, faults: &mut Faults) -> bool {
    let good = compiles(text);
    if let Err(reason) = &good {
        faults.malformed(at, reason);
    }
    good.is_ok()
}

/// The same, with what is wrong.
pub(in crate::rules) fn compiles(text: &str) -> Result<(), String> {
    let reason = match regex::Regex::new(&format!("^(?:{text})$")) {
        _ if text.is_empty() => "it is empty".to_owned(),
        Ok(_) => return Ok(()),
        Err(error) => {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    };
    Err(format!(
        "{text:?} is no regular expression of RE2: {reason}"
    ))
}

/// What becomes of a path. `all_prefix`: every match of the rule is on a prefix.
pub(super) fn change(
    at: &str,
    said: &wire::PathModifier,
    all_prefix: bool,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<PathChange> {
    let (full, prefix) = (&said.replace_full_path, &said.replace_prefix_match);
    match (said.kind.as_str(), full, prefix) {
        ("ReplaceFullPath", Some(path), None) => {
            let at = format!("{at}.replaceFullPath");
            replacement(&at, path, faults).then(|| PathChange::Whole(place.names.text(path)))
        }
        ("ReplacePrefixMatch", None, Some(path)) => {
            if !all_prefix {
                let reason = "only a match of type PathPrefix has a prefix: use ReplaceFullPath";
                faults.malformed(&format!("{at}.type"), reason);
            }
            let at = format!("{at}.replacePrefixMatch");
            let good = path.is_empty() || replacement(&at, path, faults);
            let path = path.trim_end_matches('/');
            good.then(|| PathChange::Prefix(place.names.text(path)))
        }
        ("ReplaceFullPath" | "ReplacePrefixMatch", ..) => {
            let reason = "has one field, which is called as the type is: write that one";
            faults.malformed(at, reason);
            None
        }
        (other, ..) => {
            let reason = format!("{other:?} is neither ReplaceFullPath nor ReplacePrefixMatch");
            faults.unsupported(&format!("{at}.type"), reason);
            None
        }
    }
}

fn replacement(at: &str, path: &str, faults: &mut Faults) -> bool {
    let is_plain = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"\\#?".contains(&byte);
    let good = path.starts_with('/') && path.bytes().all(is_plain);
    if !good {
        let reason = format!(
            "{path:?} is no path: begin it with a slash, in printable ASCII without ? and #"
        );
        faults.malformed(at, reason);
    }
    good
}
