//! The CORS filter.

use super::{edits::header_name, fault::Faults, wire};
use crate::{
    model::{Cors, Text},
    rules::Place,
};

/// How long browsers remember a policy that does not say it, in seconds: the specification's.
const MAX_AGE: u32 = 5;

pub(super) fn cors(at: &str, said: &wire::Cors, place: &Place<'_>, faults: &mut Faults) -> Cors {
    let origins = said.allow_origins.iter().flatten().enumerate();
    let origins = origins.map(|(index, text)| {
        let at = format!("{at}.allowOrigins[{index}]");
        origin(&at, text, place, faults)
    });
    let origins = origins.collect();
    let mut names = |field: &str, list: &Option<Vec<String>>| {
        let list = list.iter().flatten().enumerate();
        let list = list.filter_map(|(index, name)| {
            let at = format!("{at}.{field}[{index}]");
            header_name(&at, name, faults).map(|_| place.names.text(name))
        });
        list.collect::<Vec<_>>()
    };
    Cors {
        methods: names("allowMethods", &said.allow_methods),
        headers: names("allowHeaders", &said.allow_headers),
        exposed: names("exposeHeaders", &said.expose_headers),
        origins,
        credentials: said.allow_credentials == Some(true),
        max_age: Some(said.max_age.unwrap_or(MAX_AGE)),
        // A browser that must not ask is told so here.
        forwards_unmatched: false,
    }
}

/// A star stands for any text.
fn origin(at: &str, text: &str, place: &Place<'_>, faults: &mut Faults) -> Text {
    let is_plain = |byte: u8| (b'!'..=b'~').contains(&byte);
    let has_scheme = text == "*" || text.starts_with("http://") || text.starts_with("https://");
    if !has_scheme || !text.bytes().all(is_plain) {
        let reason = format!("{text:?} is no origin: write * or SCHEME://HOST[:PORT]");
        faults.malformed(at, reason);
    }
    match text.contains('*') {
        true => {
            let parts: Vec<_> = text.split('*').map(regex::escape).collect();
            Text::Regex(place.names.text(&parts.join(".*")))
        }
        false => Text::Exact(place.names.text(text)),
    }
}
