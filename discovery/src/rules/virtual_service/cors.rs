//! Which pages of other origins may read responses.

use std::sync::Arc;

use super::{
    matches::text,
    wire::{self, UnmatchedPreflights},
};
use crate::{
    model::{Cors, Text},
    rules::{Findings, Place, gateway::edits::is_token},
};

pub(super) fn read(
    at: &str,
    said: &wire::Cors,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Cors {
    let origins = said.allow_origins.iter().flatten().enumerate();
    let origins: Vec<_> = origins
        .map(|(index, it)| {
            let at = format!("{at}.allowOrigins[{index}]");
            let origin = text(&at, it, place, findings);
            if origin == Text::Present {
                findings.malformed(at, "says neither exact nor prefix nor regex: write one");
            }
            origin
        })
        .collect();
    // The older field.
    let older = said.allow_origin.iter().flatten();
    let older = older.map(|it| Text::Exact(place.names.text(it)));
    let mut names = |field: &str, list: &Option<Vec<String>>| -> Vec<Arc<str>> {
        let list = list.iter().flatten().enumerate();
        let list = list.filter_map(|(index, name)| {
            if !is_token(name) {
                let reason = format!("{name:?} is no name: write one, or *");
                findings.malformed(format!("{at}.{field}[{index}]"), reason);
                return None;
            }
            Some(place.names.text(name))
        });
        list.collect()
    };
    let max_age = said.max_age.map(|it| it.0.as_secs());
    let forwards = said.unmatched_preflights != Some(UnmatchedPreflights::Ignore);
    Cors {
        methods: names("allowMethods", &said.allow_methods),
        headers: names("allowHeaders", &said.allow_headers),
        exposed: names("exposeHeaders", &said.expose_headers),
        origins: origins.into_iter().chain(older).collect(),
        credentials: said.allow_credentials == Some(true),
        max_age: max_age.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
        forwards_unmatched: forwards,
    }
}
