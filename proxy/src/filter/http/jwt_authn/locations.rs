//! Where tokens stand in a request.

use std::borrow::Cow;

use super::super::{Decoding, header_mutation::query};
use crate::{
    config::http_filter::jwt_authn::{JwtLocation, JwtPlace},
    http::{edits::Edits, head::RequestHead},
};

/// Tokens of one request. Further ones are not looked for: each may cost a signature check.
const MAX_TOKENS: usize = 16;

/// A token as it was found.
pub(super) struct Found<'c> {
    pub(super) text: String,
    pub(super) location: &'c JwtLocation,
}

/// The tokens of a request, in the order of the places; none if there are too many.
pub(super) fn find<'c>(
    locations: &'c [JwtLocation],
    request: &dyn RequestHead,
) -> Option<Vec<Found<'c>>> {
    let mut found = Vec::new();
    for location in locations {
        let mut add = |text: &str| {
            found.push(Found {
                text: text.to_owned(),
                location,
            });
            found.len() > MAX_TOKENS
        };
        let is_too_many = match &location.place {
            JwtPlace::Header { name, value_prefix } => request.any_value(name, &mut |value| {
                behind(value_prefix, value).is_some_and(&mut add)
            }),
            JwtPlace::Param(name) => {
                query::first(request.path(), name).is_some_and(|text| add(&text))
            }
            JwtPlace::Cookie(name) => cookie(request, name).is_some_and(|text| add(&text)),
        };
        if is_too_many {
            return None;
        }
    }
    Some(found)
}

/// What stands behind the prefix, wherever that is, without what cannot be of a token before it; as
/// Envoy looks for it.
fn behind<'v>(prefix: &str, value: &'v str) -> Option<&'v str> {
    if prefix.is_empty() {
        return Some(value);
    }
    let rest = &value[value.find(prefix)? + prefix.len()..];
    let is_of_token =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let start = rest.find(is_of_token);
    Some(start.map_or(value, |start| &rest[start..]))
}

/// The value of the first cookie of this name, without quotes around it.
fn cookie(request: &dyn RequestHead, name: &str) -> Option<String> {
    let mut found = None;
    request.any_line("cookie", &mut |line: Cow<'_, str>| {
        let mut crumbs = line.split(';').filter_map(|crumb| {
            let (key, value) = crumb.trim().split_once('=')?;
            (key == name).then_some(value)
        });
        found = crumbs.next().map(|value| {
            let inner = value.strip_prefix('"').and_then(|of| of.strip_suffix('"'));
            inner.unwrap_or(value).to_owned()
        });
        found.is_some()
    });
    found
}

/// Takes a token out of the request. Cookies stay, as in Envoy.
pub(super) fn remove(location: &JwtLocation, d: &mut Decoding<'_, '_>) {
    match &location.place {
        JwtPlace::Header { name, .. } => drop_header(d.edits, name),
        JwtPlace::Param(name) => {
            let path = d.request().path().to_owned();
            let path = query::without(&path, name);
            d.edits.set_path(path);
        }
        JwtPlace::Cookie(_) => {}
    }
}

fn drop_header(edits: &mut Edits<'_>, name: &str) {
    edits.drop(name.to_owned());
}
