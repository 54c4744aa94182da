//! Changes of a request that may pass.

use http::uri::{Authority, PathAndQuery};

use super::{
    super::{Decoding, header_mutation::query},
    decision::{Allowed, Change, How},
};
use crate::{
    config::{
        format::Format,
        header::AppendAction,
        http_filter::{ext_authz::MutationRules, header_mutation::QueryMutation},
    },
    http::head::RequestHead,
};

/// A change that may not be made, where that is an error.
pub(super) struct Forbidden;

/// Makes the changes, but those that cannot or may not be made.
pub(super) fn apply(
    allowed: &Allowed,
    rules: Option<&MutationRules>,
    d: &mut Decoding<'_, '_>,
) -> Result<(), Forbidden> {
    for change in &allowed.request {
        // With rules, what begins with a colon can be set, and nothing be added to it.
        let is_added_to_pseudo = change.name.starts_with(':') && change.how != How::Set;
        if let Some(rules) = rules
            && (is_added_to_pseudo || !rules.allows(&change.name))
        {
            if rules.disallow_is_error {
                return Err(Forbidden);
            }
            continue;
        }
        if change.is_possible() {
            apply_one(change.clone(), d);
        }
    }
    for name in &allowed.remove {
        let name = name.to_ascii_lowercase();
        let is_fixed = name.is_empty()
            || name.starts_with(':')
            || name == "host"
            || super::decision::is_of_the_hop(&name);
        if is_fixed {
            continue;
        }
        match rules {
            Some(rules) if !rules.allows(&name) && rules.disallow_is_error => {
                return Err(Forbidden);
            }
            Some(rules) if !rules.allows(&name) => {}
            Some(_) | None => d.edits.drop(name),
        }
    }
    change_query(allowed, d);
    Ok(())
}

fn apply_one(change: Change, d: &mut Decoding<'_, '_>) {
    match change.name.as_str() {
        ":path" if is_path(&change.value) => d.edits.set_path(change.value),
        ":method" if change.value.parse::<http::Method>().is_ok() => {
            d.edits.set_method(change.value);
        }
        ":authority" | "host" if change.value.parse::<Authority>().is_ok() => {
            d.edits.set_authority(change.value);
        }
        name if name.starts_with(':') || name == "host" => {}
        _ => {
            change.apply(d.head, d.edits);
        }
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<PathAndQuery>().is_ok() && !text.contains('#')
}

/// Parameters are set first, and then taken out, as in Envoy.
fn change_query(allowed: &Allowed, d: &mut Decoding<'_, '_>) {
    if allowed.set_query.is_empty() && allowed.remove_query.is_empty() {
        return;
    }
    let set = allowed
        .set_query
        .iter()
        .map(|(key, value)| QueryMutation::Append {
            key: key.clone(),
            value: Format::literal(value),
            append: AppendAction::OverwriteIfExistsOrAdd,
        });
    let remove = allowed.remove_query.iter().cloned();
    let mutations: Vec<_> = set.chain(remove.map(QueryMutation::Remove)).collect();
    let before = d.request().path().to_owned();
    let literal = |format: &Format| format.as_literal().unwrap_or_default().to_owned();
    let path = query::mutate_by(&before, &mutations, &literal, made_safe);
    if path != before {
        d.edits.set_path(path);
    }
}

/// Text as the service wrote it, as in Envoy, but for what would break the request line.
fn made_safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'#' => safe.push_str("%23"),
            byte if byte.is_ascii_graphic() => safe.push(char::from(byte)),
            byte => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}
